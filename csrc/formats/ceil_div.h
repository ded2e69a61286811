// Division and multiples that round up. Torch-free.
#pragma once
#include <cstdint>

namespace jouleprune {

/// Smallest integer not below a / b, for a >= 0 and b >= 1.
constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Smallest multiple of b not below a, for a >= 0 and b >= 1.
constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

}  // namespace jouleprune
