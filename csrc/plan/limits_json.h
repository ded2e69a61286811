// Measured limits as JSON: in plans, in requests, and in the state of a Pruner.
#pragma once
#include <jouleprune/plan.h>

#include <string>
#include <string_view>
#include <vector>

#include "energy/json_reader.h"

namespace jouleprune::plan {

/// [{"weight", "kernel", "dtype", "below"}]
energy::Json to_json(const std::vector<MeasuredLimit>& limits);

/// Fails as the document does.
std::vector<MeasuredLimit> limits_from(const energy::Node& in);

/// `origin` is named in errors. Throws std::invalid_argument.
std::vector<MeasuredLimit> parse_limits(std::string_view json, const std::string& origin);

}  // namespace jouleprune::plan
