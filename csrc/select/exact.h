// The exact multiple choice for networks so small that every undominated combination can be listed.
#pragma once
#include <optional>
#include <vector>

#include "select/problem.h"

namespace jouleprune::select {

/// Counts of least importance lost within the budget, over all patterns of each weight and all counts, by dynamic programming
/// over the weights: of the (joules, importance lost) reached so far only those stay that no other beats in both. Nothing where
/// there are too many of them, or none fits.
std::optional<Selection> choose_exactly(Problem& problem, const std::vector<bool>& may_prune);

}  // namespace jouleprune::select
