// The request of op select_masks as JSON, and its errors on the way back.
#pragma once
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plan/planner.h"

namespace jouleprune::plan {

struct SelectRequest {
  Request request;
  std::optional<Budget> budget;     ///< "budget": "50%", or "budget_j": a number; only a probe may lack it
  std::optional<double> relaxed_j;  ///< target of a step on the way of a schedule; needs frozen
  std::optional<std::vector<bool>> frozen;
  bool probe = false;  ///< only dense_j, minimum_j and the layers; nothing is selected
};

/// Throws std::invalid_argument with the JSON pointer, core::BudgetError, core::ProfileError.
SelectRequest parse_select_request(std::string_view json);

/// Answers a request: the plan with masks (none for a probe). Throws as Planner.
Result answer(const SelectRequest& request, std::span<const std::span<const float>> importance);

/// {"error": {"type", "message", "minimum_j"}} for errors of the planner; others are thrown again.
std::string error_json(std::exception_ptr error);

}  // namespace jouleprune::plan
