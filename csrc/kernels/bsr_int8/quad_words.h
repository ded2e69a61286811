// Vectors of words that hold four unsigned bytes, made of floats; for files compiled for AVX-512. Internal linkage throughout.
#pragma once
#include <immintrin.h>

#include "kernels/bsr_int8/quantise.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

constexpr int kSide = 16;         // words of a vector
constexpr int64_t kColumns = 64;  // inputs quantised at once: 16 quads, a square block of words

uint32_t largest_magnitude(const float* x, int64_t count) {
  const __m512i magnitude = _mm512_set1_epi32(static_cast<int>(kMagnitudeBits));
  __m512i most[4] = {};
  int64_t c = 0;
  for (; c + 4 * kSide <= count; c += 4 * kSide) {
    for (int i = 0; i < 4; ++i) {
      most[i] = _mm512_max_epi32(most[i], _mm512_and_si512(magnitude, _mm512_loadu_si512(x + c + i * kSide)));
    }
  }
  for (; c < count; c += kSide) {
    const auto present = static_cast<__mmask16>(count - c >= kSide ? 0xffff : (1 << (count - c)) - 1);
    most[0] = _mm512_max_epi32(most[0], _mm512_and_si512(magnitude, _mm512_maskz_loadu_epi32(present, x + c)));
  }
  return static_cast<uint32_t>(
      _mm512_reduce_max_epi32(_mm512_max_epi32(_mm512_max_epi32(most[0], most[1]), _mm512_max_epi32(most[2], most[3]))));
}

/// Transposes 16 x 16 words.
[[gnu::always_inline]] inline void transpose_words(__m512i (&r)[kSide]) {
  __m512i t[kSide];
  for (int i = 0; i < kSide; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < kSide; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

/// 16 inputs, scaled and rounded. With a scale of the row's own no value lies beyond 127.
template <bool kClamp>
[[gnu::always_inline]] inline __m512i quantise_16(__m512 x, __m512 inverse) {
  __m512 v = _mm512_mul_ps(x, inverse);
  if constexpr (kClamp) {
    v = _mm512_max_ps(v, _mm512_set1_ps(-kSteps));
    v = _mm512_min_ps(v, _mm512_set1_ps(kSteps));
  }
  return _mm512_cvt_roundps_epi32(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/// Up to 64 inputs of 16 rows: to[q * width] the 16 words of quad q. kWhole: all 64 are there. kSome: only the words of the rows
/// in `wanted` are written.
template <bool kClamp, bool kWhole, bool kSome = false>
[[gnu::always_inline]] inline void quantise_block(const float* const (&rows)[kSide], const float (&inverse)[kSide], int64_t c,
                                                  int64_t left, int32_t* to, int64_t width, __mmask16 wanted = 0xffff) {
  const __m512i to_unsigned = _mm512_set1_epi8(static_cast<char>(0x80));
  __m512i words[kSide];
#pragma GCC unroll 16
  for (int i = 0; i < kSide; ++i) {
    const __m512 by = _mm512_set1_ps(inverse[i]);
    __m512i q[4];
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) {
      if constexpr (kWhole) {
        q[s] = quantise_16<kClamp>(_mm512_loadu_ps(rows[i] + c + s * 16), by);
      } else {
        const int64_t here = left - s * 16;
        const auto present = static_cast<__mmask16>(here >= 16 ? 0xffff : here <= 0 ? 0 : (1 << here) - 1);
        q[s] = quantise_16<kClamp>(_mm512_maskz_loadu_ps(present, rows[i] + c + s * 16), by);
      }
    }
    const __m512i bytes = _mm512_packs_epi16(_mm512_packs_epi32(q[0], q[1]), _mm512_packs_epi32(q[2], q[3]));
    words[i] = _mm512_xor_si512(bytes, to_unsigned);
  }
  transpose_words(words);
#pragma GCC unroll 16
  for (int p = 0; p < kSide; ++p) {
    const int quad = 4 * (p & 3) + (p >> 2);  // packs work within quarters of the vector
    if (kWhole || quad * 4 < left) {
      if constexpr (kSome) {
        _mm512_mask_storeu_epi32(to + quad * width, wanted, words[p]);
      } else {
        _mm512_storeu_si512(to + quad * width, words[p]);
      }
    }
  }
}

}  // namespace
}  // namespace jouleprune::kernels::bsr_int8
