// What a plan says of convert(): the layers it prunes, the modules of its layouts, and what the result may cost.
#pragma once
#include <vector>

#include "prune/candidates.h"

namespace jouleprune::prune {

/// The layers a plan prunes, or runs in another number type. Throws c10::ValueError when the module lacks one or does not hold the
/// plan's zeros.
std::vector<Candidate> planned_candidates(torch::nn::Module& module, const MaskedPlan& plan);

/// The layer that takes the place of one which the plan runs in int8, or of a Linear in blocks of its pattern. The candidate has no obstacle.
Twin block_twin(const Candidate& candidate);

/// Throws BudgetError when the network as the decisions leave it would cost more than the plan's budget: a layer had to deviate.
/// `workload`: recorded dense.
void check_budget(const Workload& workload, const std::vector<Candidate>& candidates, const std::vector<Decision>& decisions,
                  const MaskedPlan& plan, const Profile& profile);

}  // namespace jouleprune::prune
