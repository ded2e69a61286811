// The request of op select_masks as JSON, and its errors on the way back.
#pragma once
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plan/planner.h"

namespace jouleprune::plan {

/// One of several processes that select together: the name of the process group, and which of them.
struct Sharing {
  std::string group;
  int64_t rank = 0, size = 1;
};

struct SelectRequest {
  Request request;
  std::optional<Budget> budget;     ///< "budget": "50%", or "budget_j": a number; only a probe may lack it
  std::optional<double> relaxed_j;  ///< target of a step on the way of a schedule; needs frozen
  std::optional<std::vector<bool>> frozen;
  std::optional<Sharing> sharing;  ///< scores and masks are of this process's part
  bool probe = false;  ///< only dense_j, minimum_j and the layers; nothing is selected
};

/// Throws std::invalid_argument with the JSON pointer, core::BudgetError, core::ProfileError.
SelectRequest parse_select_request(std::string_view json);

/// Answers a request: the plan with masks (none for a probe). Throws as Planner.
/// `together`: what asked.sharing names.
Result answer(const SelectRequest& request, std::span<const std::span<const float>> importance,
              const select::Together* together = nullptr);

/// {"error": {"type", "message", "minimum_j"}} for errors of the planner; others are thrown again.
std::string error_json(std::exception_ptr error);

}  // namespace jouleprune::plan
