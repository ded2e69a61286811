// Division that rounds up. Torch-free.
#pragma once
#include <cstdint>

namespace jouleprune {

/// Smallest integer not below a / b, for a >= 0 and b >= 1.
constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace jouleprune
