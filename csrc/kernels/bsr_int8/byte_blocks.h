// Sums of int8 products that leave as bytes; for files compiled for AVX-512. Internal linkage throughout.
#pragma once
#include "kernels/bsr_int8/panel_kernels.h"
#include "kernels/bsr_int8/quad_words.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

/// 16 lanes of each of up to 64 rows, as bytes: 4 rows become one word of each lane, so that one block of 16 x 16 words is turned
/// instead of four. Returns the lanes in which a NaN was seen.
template <bool kWhole, bool kRelu>
[[gnu::always_inline]] inline __mmask16 byte_words(const int32_t* sums, int64_t width, int64_t rows, const PanelOutput& o, int64_t r,
                                                   __m512 input_scales, __m512 inverse, __m512i (&words)[kSide]) {
  const __m512i by_lane = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  __mmask16 nan = 0;
  for (int p = 0; p < kSide; ++p) {
    __m512i q[4] = {};
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) {
      const int64_t at = 4 * p + s;
      if (kWhole || at < rows) {
        const __m512 by = _mm512_mul_ps(_mm512_set1_ps(o.scales[r + at]), input_scales);
        const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums + at * width)), by);
        const __m512 sum = _mm512_add_ps(product, _mm512_set1_ps(o.bias == nullptr ? 0.0f : o.bias[r + at]));
        const __m512 y = kRelu ? _mm512_max_ps(_mm512_setzero_ps(), sum) : sum;
        nan |= _mm512_cmp_ps_mask(y, y, _CMP_UNORD_Q);
        q[s] = quantise_16<true>(y, inverse);
      }
    }
    const __m512i bytes = _mm512_packs_epi16(_mm512_packs_epi32(q[0], q[1]), _mm512_packs_epi32(q[2], q[3]));
    words[p] = _mm512_xor_si512(_mm512_shuffle_epi8(bytes, by_lane), _mm512_set1_epi8(static_cast<char>(0x80)));
  }
  return nan;
}

template <bool kRelu>
void store_byte_blocks(const int32_t* sums, int64_t rows, int64_t width, const PanelOutput& o, const PanelByteOutput& bytes) {
  const __m512 inverse = _mm512_set1_ps(bytes.inverse);
  for (int64_t r = 0; r < rows; r += kColumns) {
    const int64_t here = rows - r < kColumns ? rows - r : kColumns;
    const __mmask64 present = here == kColumns ? ~__mmask64{0} : (__mmask64{1} << here) - 1;
    for (int64_t j = 0; j < o.count; j += kSide) {
      const int32_t* from = sums + r * width + j;
      const __m512 input_scales = _mm512_loadu_ps(o.input_scales + j);
      const int64_t lanes = o.count - j < kSide ? o.count - j : kSide;
      __m512i words[kSide];
      __mmask16 nan = here == kColumns ? byte_words<true, kRelu>(from, width, here, o, r, input_scales, inverse, words)
                                       : byte_words<false, kRelu>(from, width, here, o, r, input_scales, inverse, words);
      transpose_words(words);
      for (int64_t i = 0; i < lanes; ++i, nan = static_cast<__mmask16>(nan >> 1)) {
        _mm512_mask_storeu_epi8(bytes.y + (j + i) * bytes.stride + r, present, words[i]);
        if ((nan & 1) != 0) {
          bytes.lost[j + i] = 1;
        }
      }
    }
  }
}

}  // namespace
}  // namespace jouleprune::kernels::bsr_int8
