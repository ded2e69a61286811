// How numbers become int8, once for all kernels. Always inlined: used in files compiled for different instruction sets.
#pragma once
#include <cstdint>

namespace jouleprune::kernels::bsr_int8 {

inline constexpr float kSteps = 127;
inline constexpr uint32_t kMagnitudeBits = 0x7fffffffu, kInfinityBits = 0x7f800000u;
inline constexpr float kSmallestScale = 0x1p-126f;  // so that its inverse is finite

struct RowScale {
  float scale;    ///< of the result
  float inverse;  ///< what the inputs are multiplied by
};

/// largest: the largest of the row's elements as bits without sign, in whose order NaN comes after infinity and that after all
/// numbers. given: the static scale, or 0.
[[gnu::always_inline]] inline RowScale row_scale(uint32_t largest, float given) {
  constexpr float kNan = __builtin_nanf("");
  if (given > 0) {
    return largest > kInfinityBits ? RowScale{kNan, 0} : RowScale{given, 1 / given};
  }
  if (largest >= kInfinityBits) {
    return {kNan, 0};
  }
  if (largest == 0) {
    return {1, 1};
  }
  const float scale = __builtin_bit_cast(float, largest) / kSteps;
  const float kept = scale > kSmallestScale ? scale : kSmallestScale;
  return {kept, 1 / kept};
}

[[gnu::always_inline]] inline uint32_t magnitude_bits(float x) { return __builtin_bit_cast(uint32_t, x) & kMagnitudeBits; }

/// What a sum of unsigned activations (128 added to each) starts with so that it ends right: -128 times the sum of the row's
/// weights, modulo 2^32 as the sums are.
inline int32_t start_of_sum(int64_t sum_of_weights) { return static_cast<int32_t>(static_cast<uint32_t>(-128 * sum_of_weights)); }

/// Rounds to nearest, ties to even; NaN (whose row's scale is NaN anyway) becomes -127.
[[gnu::always_inline]] inline int32_t quantise(float x, float inverse) {
  float v = x * inverse;
  v = v > -kSteps ? v : -kSteps;
  v = v < kSteps ? v : kSteps;
  constexpr float kRound = 0x1.8p23f;  // the unit of numbers this large is 1
  const float rounded = v + kRound;
  return static_cast<int32_t>(rounded - kRound);
}

}  // namespace jouleprune::kernels::bsr_int8
