// Scores as unsigned numbers in the same order.
#pragma once
#include "simt/platform.h"
#if !defined(__CUDACC__)
#include <bit>
#endif

namespace jouleprune::cuda::masks {

/// Both zeros are one, every NaN is the largest.
JP_BODY uint32_t key_of(float score) {
#if defined(__CUDACC__)
  const uint32_t bits = __float_as_uint(score == 0 ? 0.f : score);
#else
  const auto bits = std::bit_cast<uint32_t>(score == 0 ? 0.f : score);
#endif
  return score != score ? 0xffffffffu : bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}

}  // namespace jouleprune::cuda::masks
