// When a layer counts as empty; Plan::emptied() names those of a plan.
#pragma once
#include <cstdint>

namespace jouleprune::plan {

/// A layer that keeps fewer weights than this share of its outputs passes next to nothing on.
inline constexpr double kNextToNone = 0.1;

/// Of a layer that keeps `kept` weights and has `rows` outputs (of one group).
bool passes_next_to_nothing(double kept, int64_t rows);

}  // namespace jouleprune::plan
