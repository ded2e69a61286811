// How much importance any selection must lose: the Lagrangian dual of the choice.
#pragma once
#include <vector>

#include "select/problem.h"

namespace jouleprune::select {

/// A bound below which the importance lost within the budget cannot be, of the layers' hulls: exact for curves that were sampled
/// at every count, else as good as their samples. Looks around `price` (importance per joule) for the highest; effort bounded by
/// the number of units.
double least_lost(Problem& problem, const std::vector<bool>& may_prune, double price);

}  // namespace jouleprune::select
