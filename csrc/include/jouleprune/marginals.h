// What leaving something out of a layer saves. Torch-free; every figure is modelled. docs/energy_model.md, "Marginals".
#pragma once
#include <jouleprune/energy.h>

#include <optional>
#include <string>
#include <vector>

namespace jouleprune::energy {

/// What is left out: one kept weight; one output feature or channel of every group, with its weights and activations;
/// one input feature or channel of every group.
enum class Unit { kWeight, kOutput, kInput };

/// "weight", "output", "input". Throws std::invalid_argument naming them.
Unit unit_of(const std::string& name);

/// Units that an entry has: kept weights, outputs or inputs per group. 0 for entries without weight.
int64_t units(const Entry& entry, Unit unit);

/// The entry after `count` of its units are gone: as a fresh smaller layer for outputs and inputs; kept weights go in
/// proportion. Throws std::invalid_argument when it has fewer.
Entry without(const Entry& entry, Unit unit, int64_t count);

struct Marginal {
  int64_t units = 0;     ///< there are
  double exact_j = 0;    ///< E(entry) - E(entry without one); joules per call
  double relaxed_j = 0;  ///< mean of one unit while half of them go: what one is worth when steps are smoothed
  int64_t step = 0;      ///< fewest units that save at least `step` times `relaxed_j`: the next useful step
  double step_j = 0;     ///< what they save together
};

/// By the kernel that the entry names. Zero for entries without weight.
Marginal marginal(const Entry& entry, const Profile& profile, Unit unit);

struct BreakEven {
  std::string kernel, layout;
  std::optional<double> density;  ///< largest density at which it costs no more than dense; none: it always costs more
};

/// Every kernel of the profile that could run the pruned layer. Empty on accelerators, where zeros are priced as such.
std::vector<BreakEven> break_evens(const Entry& entry, const Profile& profile);

}  // namespace jouleprune::energy
