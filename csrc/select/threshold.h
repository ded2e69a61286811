// One threshold over all layers: a unit stays when its importance is at least threshold x joules saved by removing it.
#pragma once
#include <optional>
#include <vector>

#include "select/problem.h"

namespace jouleprune::select {

/// Units of a layer that stay at a threshold (importance per joule). Units that save nothing stay, units of importance
/// 0 that save something go. Never more as the threshold rises.
int64_t kept_at(Layer& layer, double threshold, Rounding rounding = Rounding::kExact);

/// The least threshold whose total is within the budget, with units of equal score kept in position order (layers as
/// given, then index) as long as they fit. Nothing when even the least counts are above the budget. O(log) evaluations
/// of the total, and about one pass over the scores in all.
std::optional<Selection> select_at_budget(Problem& problem, const std::vector<Slot>& slots);

/// As kept_at for the whole network without exact counts: every layer takes the cheaper of dense and pruned at the
/// price `threshold` per joule, which no budget enters. The counts are those of upper bounds.
Counts priced_choice(Problem& problem, const std::vector<Slot>& slots, double threshold);

/// The least threshold (to within the bins of the rankings) at which priced_choice is within the budget; +infinity when
/// none is.
double price_at_budget(Problem& problem, const std::vector<Slot>& slots);

/// Sets energy_j and lost from the counts.
void tally(Problem& problem, Selection& selection);

}  // namespace jouleprune::select
