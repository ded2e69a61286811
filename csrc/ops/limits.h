// The largest size and count of a pruned weight.
#pragma once
#include <cstdint>
#include <limits>

namespace jouleprune::ops {

/// Indices and offsets are stored as int32 (docs/formats.md).
inline constexpr int64_t kLimit = std::numeric_limits<int32_t>::max();

}  // namespace jouleprune::ops
