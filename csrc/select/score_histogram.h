// How many scores, and what they sum to, by the upper 16 bits of their keys: the one pass over all scores that a selection cannot do without.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace jouleprune::select {

/// Bits of a key below those that name its bin.
inline constexpr uint32_t kTopShift = 16;

struct ScoreBin {
  uint32_t top = 0;  ///< upper bits of its keys
  int64_t count = 0;
  double sum = 0;  ///< of the scores; exact below 2^29 of them, whatever their order
};

/// The bins that are not empty, ascending. -0 counts as 0. Throws std::invalid_argument naming the first score that is NaN, infinite or
/// negative; `name` says whose. Memory: 1.5 MB, whatever there is to count.
std::vector<ScoreBin> score_histogram(std::span<const float> scores, std::string_view name);

}  // namespace jouleprune::select
