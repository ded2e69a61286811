// Puts removed units back where the budget still has room.
#pragma once
#include "select/problem.h"

namespace jouleprune::select {

/// First units of positive importance, by score and then whatever still fits; then, when more than 1 % of the budget is
/// left, units of importance 0. Afterwards no removed unit (of positive importance, or of any when the second part ran)
/// fits. Layers that are dense stay dense; a layer that one more unit makes cheaper dense goes dense.
void fill(Problem& problem, Selection& selection);

/// Whether one more unit of a pruned layer fits.
bool one_more_fits(Problem& problem, const Counts& counts, size_t layer);

/// Whether putting back any single removed unit would exceed the budget.
bool is_maximal(Problem& problem, const Counts& counts);

/// What one more unit of a pruned layer adds to the total.
double joules_of_one_more(Problem& problem, const Counts& counts, size_t layer);

/// The pruned layer whose first removed unit has the best importance per joule; counts.size() when nothing is removed.
size_t best_removed(Problem& problem, const Counts& counts);

}  // namespace jouleprune::select
