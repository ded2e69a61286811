// A computed result against what a case expects.
#pragma once
#include <string>
#include <vector>

#include "energy/json_reader.h"

namespace jouleprune::energy::cases {

/// One line per value of `/expected` that is missing from `computed` or further from it than `/tolerance` allows.
std::vector<std::string> deviations(const Json& computed, const Node& root);

}  // namespace jouleprune::energy::cases
