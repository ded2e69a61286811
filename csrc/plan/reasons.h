// The sentence of each layer of a plan.
#pragma once
#include <optional>
#include <string>

#include "plan/network.h"

namespace jouleprune::plan {

/// A layer that is pruned. `next_j`: what one more unit adds; nothing when all are kept.
/// `waits`: a step on the way, where the layer runs dense until its kernel wins.
std::string pruned_reason(const Network& network, size_t layer, int64_t kept, double energy_j, std::optional<double> next_j,
                          bool waits);

/// A weight of which nothing is removed. `allowed`: whether it might have been pruned.
std::string dense_reason(const Network& network, size_t group, bool allowed);

/// Message of a budget below what can be reached.
std::string too_small(const Network& network, double budget_j, double minimum_j);

}  // namespace jouleprune::plan
