// Compares of the keys of 16 neighbouring scores at once, as bits: what the passes over all scores of a layer are made of.
#pragma once
#include <cstdint>

#include "select/fetch_ahead.h"
#include "select/ranking.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace jouleprune::select {

inline constexpr int64_t kGroup = 16;

#if defined(__SSE2__)
/// Bit i = `holds` of the keys of scores[4 * q + ...]: holds(keys) gives all ones or zeros per lane.
template <class Holds>
inline uint32_t group_bits(const float* scores, Holds holds) {
  const auto lanes = [&](int q) {
    return holds(_mm_and_si128(_mm_castps_si128(_mm_loadu_ps(scores + 4 * q)), _mm_set1_epi32(0x7fffffff)));
  };
  return static_cast<uint32_t>(
      _mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(lanes(0), lanes(1)), _mm_packs_epi32(lanes(2), lanes(3)))));
}

/// Keys above `key`. Keys are below 2^31, so signed compares do.
inline uint32_t group_above(const float* scores, uint32_t key) {
  const __m128i cut = _mm_set1_epi32(static_cast<int>(key));
  return group_bits(scores, [&](__m128i keys) { return _mm_cmpgt_epi32(keys, cut); });
}

/// Keys whose bits from `shift` on are `upper`.
inline uint32_t group_equal(const float* scores, uint32_t upper, int shift = 0) {
  const __m128i wanted = _mm_set1_epi32(static_cast<int>(upper)), by = _mm_cvtsi32_si128(shift);
  return group_bits(scores, [&](__m128i keys) { return _mm_cmpeq_epi32(_mm_srl_epi32(keys, by), wanted); });
}
#else
inline uint32_t group_above(const float* scores, uint32_t key) {
  uint32_t bits = 0;
  for (int64_t i = 0; i < kGroup; ++i) bits |= static_cast<uint32_t>(key_of(scores[i]) > key) << i;
  return bits;
}

inline uint32_t group_equal(const float* scores, uint32_t upper, int shift = 0) {
  uint32_t bits = 0;
  for (int64_t i = 0; i < kGroup; ++i) bits |= static_cast<uint32_t>((key_of(scores[i]) >> shift) == upper) << i;
  return bits;
}
#endif

}  // namespace jouleprune::select
