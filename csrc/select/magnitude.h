// Magnitudes as keys: unsigned integers that order as absolute values do. Zeros of both signs are one key; NaN is above
// infinity, so that what is broken is removed last and seen.
#pragma once
#include <bit>
#include <cstdint>

namespace jouleprune::select {

/// The bits of a float16 or bfloat16: without the sign both order like their values.
struct Bits16 {
  uint16_t bits;
};

inline uint16_t magnitude(Bits16 score) { return static_cast<uint16_t>(score.bits & 0x7fffu); }
inline uint32_t magnitude(float score) { return std::bit_cast<uint32_t>(score) & 0x7fffffffu; }
inline uint64_t magnitude(double score) { return std::bit_cast<uint64_t>(score) & 0x7fffffffffffffffu; }
/// Also of the least int64, whose absolute value no int64 holds.
inline uint64_t magnitude(int64_t score) {
  const uint64_t bits = static_cast<uint64_t>(score);
  return score < 0 ? 0 - bits : bits;
}

/// Bits that a key may use.
template <class Score>
inline constexpr int kMagnitudeBits = static_cast<int>(8 * sizeof(Score)) - 1;
template <>
inline constexpr int kMagnitudeBits<int64_t> = 64;

}  // namespace jouleprune::select
