// Importance by name: which criterion it is, what it needs, and its scores as the planner reads them.
#pragma once
#include <jouleprune/prune.h>

#include <string>
#include <vector>

#include "prune/criteria/context.h"

namespace jouleprune::prune::criteria {

/// Refuses unknown names, and criteria that lack what they look at, before anything runs. `op` opens error messages. Throws PatternError,
/// c10::ValueError.
void check_importance(const std::string& op, const PrunerOptions& options);

/// Refuses given scores of other weights than these, or of other sizes. Throws c10::ValueError.
void check_given(const std::string& op, const PrunerOptions& options, const Context& context);

/// Of each weight of the context, float32, flattened, on the CPU. `given`: scores whose magnitudes count in place of the criterion.
std::vector<at::Tensor> scores_of(const std::string& importance, const Scores& given, const Context& context);

}  // namespace jouleprune::prune::criteria
