// Which layers are pruned at all, and then how far: the multiple choice between dense and pruned per layer.
#pragma once
#include <optional>
#include <vector>

#include "select/problem.h"

namespace jouleprune::select {

/// Counts of least importance lost found within the budget; only layers that `may_prune` marks are pruned, of a group at most
/// one. Nothing when the budget is below the least total. Deterministic; effort bounded by the number of layers and of units.
/// Where weights have several patterns and the network is small, the least there is (select/exact.h); else by flips.
std::optional<Selection> choose(Problem& problem, const std::vector<bool>& may_prune);

/// Starts from every weight that pruning could make cheaper, and from the layers that are worth pruning at one price per
/// joule (the Lagrangian relaxation); then flips layers, worst first, and keeps what loses less importance. Every layer that
/// `may_prune` marks is cheaper than dense at its floor.
std::optional<Selection> choose_by_flips(Problem& problem, const std::vector<bool>& may_prune);

/// One threshold over the given layers, and the room that is left filled.
std::optional<Selection> choose_fixed(Problem& problem, const std::vector<bool>& prune);

}  // namespace jouleprune::select
