// Joules of one entry, and what the planner asks of a profile.
#pragma once
#include <jouleprune/energy.h>

#include <string>
#include <string_view>
#include <vector>

namespace jouleprune::energy {

/// Prices one call. Joules are per `count`; latency, MACs and bytes per forward pass. `share` is left 0.
/// On accelerators that save on zeros the price depends on entry.nnz, never on its layout or kernel.
/// Throws std::invalid_argument (malformed entry, unknown kernel, count < 1).
LayerEnergy price(const Entry& entry, const Profile& profile, int64_t count);

/// Kernels that may run a pruned form of this entry or the entry as it is: "dense" first; on accelerators that save on
/// zeros only "zero-skip". `pattern`: "unstructured", or "block" for those that take whole blocks as well.
std::vector<std::string> candidates(const Entry& entry, const Profile& profile, std::string_view pattern = "unstructured");

/// Whether a zero in a weight that is laid out densely saves energy.
bool zeros_save(const Profile& profile);

/// Throws std::invalid_argument naming the entry and the field when a size is negative or too large, nnz exceeds the
/// weight's elements, or input_density is no share.
void check(const Entry& entry);

}  // namespace jouleprune::energy
