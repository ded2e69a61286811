// The sentence of each layer of a plan.
#pragma once
#include <optional>
#include <string>

#include "plan/network.h"

namespace jouleprune::plan {

/// A layer that is pruned. `next_j`: what one more weight adds; nothing when all are kept.
/// `relaxed`: a step on the way, where a layer may wait for its kernel to win.
std::string pruned_reason(const Network& network, size_t layer, int64_t kept, const std::string& kernel,
                          double energy_j, std::optional<double> next_j, bool relaxed);

/// A layer that stays dense. `allowed`: whether it might have been pruned.
std::string dense_reason(const Network& network, size_t layer, bool allowed);

/// Message of a budget below what can be reached.
std::string too_small(const Network& network, double budget_j, double minimum_j);

}  // namespace jouleprune::plan
