// What else could run the pruned layers: for explain().
#pragma once
#include <optional>
#include <vector>

#include "prune/candidates.h"

namespace jouleprune::prune {

/// Gives each decision a line for every way to run its layer, predicted for `profile` (plan::host_profile() where zeros save by
/// themselves) and, where this machine's table of times knows the calls, measured. `workload`: recorded dense. Throws std::invalid_argument.
void add_alternatives(const Workload& workload, const std::vector<Candidate>& candidates, const std::optional<Profile>& profile,
                      std::vector<Decision>& decisions);

}  // namespace jouleprune::prune
