// Panels of four unsigned bytes a word, multiplied by vpdpbusd: four products and their sum, which does not saturate.
#include <immintrin.h>

#include "kernels/bsr_int8/quantise.h"
#include "kernels/bsr_int8/store_body.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

constexpr int kSide = 16;           // batch rows of a vector
constexpr int64_t kColumns = 64;    // inputs quantised at once: 16 quads, a square block of words

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

/// Up to 64 inputs of 16 rows: to[q * width] the 16 words of quad q. kWhole: all 64 are there.
template <bool kClamp, bool kWhole>
[[gnu::always_inline]] inline void quantise_block(const float* const (&rows)[kSide], const float (&inverse)[kSide], int64_t c,
                                                  int64_t left, int32_t* to, int64_t width) {
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
      _mm512_storeu_si512(to + quad * width, words[p]);
    }
  }
}

template <bool kClamp>
void quantise_rows(const float* const (&rows)[kSide], const float (&inverse)[kSide], int64_t cols, int32_t* to, int64_t width) {
  int64_t c = 0;
  for (; c + kColumns <= cols; c += kColumns) {
    quantise_block<kClamp, true>(rows, inverse, c, kColumns, to + c / 4 * width, width);
  }
  if (c < cols) {
    quantise_block<kClamp, false>(rows, inverse, c, cols - c, to + c / 4 * width, width);
  }
}

void quantise_panel(const PanelInput& in, int64_t width, void* panel, float* scales) {
  for (int64_t j = 0; j < width; j += kSide) {
    const float* rows[kSide];
    float inverse[kSide];
    for (int i = 0; i < kSide; ++i) {
      const bool present = j + i < in.count;
      rows[i] = in.x + (present ? j + i : 0) * in.stride;  // lanes beyond the batch repeat its first row
      const RowScale scale = row_scale(present ? largest_magnitude(rows[i], in.cols) : 0, in.given_scale);
      scales[j + i] = scale.scale;
      inverse[i] = scale.inverse;
    }
    auto* to = static_cast<int32_t*>(panel) + j;
    if (in.given_scale > 0) {
      quantise_rows<true>(rows, inverse, in.cols, to, width);
    } else {
      quantise_rows<false>(rows, inverse, in.cols, to, width);
    }
  }
}

/// One row at a time; two quads in flight hide the latency of the multiply-add.
template <int kVectors>
void multiply_rows(const PanelWeight& weight, int64_t begin, int64_t end, const uint8_t* panel, int32_t* sums) {
  constexpr int64_t kWidth = kVectors * kSide;
  int64_t next[kUnitRows];
  for (int64_t r = begin; r < end; ++r) {
    next[r - begin] = weight.row_offsets[r];
  }
  for (int64_t block = 0; block == 0 || block < weight.cols; block += weight.column_block) {
    const bool last_block = block + weight.column_block >= weight.cols;
    for (int64_t r = begin; r < end; ++r) {
      int32_t* sum = sums + (r - begin) * kWidth;
      __m512i even[kVectors], odd[kVectors];
      for (int q = 0; q < kVectors; ++q) {
        even[q] = block == 0 ? _mm512_set1_epi32(weight.start[r]) : _mm512_loadu_si512(sum + q * kSide);
        odd[q] = _mm512_setzero_si512();
      }
      int64_t k = next[r - begin], last = weight.row_offsets[r + 1];
      if (!last_block) {
        last = first_beyond(weight.columns, k, last, block + weight.column_block);
      }
      next[r - begin] = last;
      for (; k + 2 <= last; k += 2) {
        const uint8_t *x0 = panel + weight.columns[k] * 4 * kWidth, *x1 = panel + weight.columns[k + 1] * 4 * kWidth;
        const __m512i w0 = _mm512_set1_epi32(static_cast<int>(weight.values[k]));
        const __m512i w1 = _mm512_set1_epi32(static_cast<int>(weight.values[k + 1]));
        for (int q = 0; q < kVectors; ++q) {
          even[q] = _mm512_dpbusd_epi32(even[q], _mm512_loadu_si512(x0 + q * 64), w0);
          odd[q] = _mm512_dpbusd_epi32(odd[q], _mm512_loadu_si512(x1 + q * 64), w1);
        }
      }
      if (k < last) {
        const uint8_t* x = panel + weight.columns[k] * 4 * kWidth;
        const __m512i w = _mm512_set1_epi32(static_cast<int>(weight.values[k]));
        for (int q = 0; q < kVectors; ++q) {
          even[q] = _mm512_dpbusd_epi32(even[q], _mm512_loadu_si512(x + q * 64), w);
        }
      }
      for (int q = 0; q < kVectors; ++q) {
        _mm512_storeu_si512(sum + q * kSide, _mm512_add_epi32(even[q], odd[q]));
      }
    }
  }
}

void multiply_panel(const PanelWeight& weight, int64_t begin, int64_t end, const void* panel, int64_t width, int32_t* sums) {
  const auto* bytes = static_cast<const uint8_t*>(panel);
  switch (width / kSide) {
    case 1: return multiply_rows<1>(weight, begin, end, bytes, sums);
    case 2: return multiply_rows<2>(weight, begin, end, bytes, sums);
    case 3: return multiply_rows<3>(weight, begin, end, bytes, sums);
    default: return multiply_rows<4>(weight, begin, end, bytes, sums);
  }
}

/// Up to 16 batch rows of 16 sums each. kWhole: there are 16.
template <bool kWhole, bool kRelu>
[[gnu::always_inline]] inline void store_block(const int32_t* sums, int64_t width, __m512 scales, __m512 bias,
                                               const float* input_scales, float* y, int64_t stride, int64_t present) {
  __m512i block[kSide];
#pragma GCC unroll 16
  for (int i = 0; i < kSide; ++i) {
    block[i] = _mm512_loadu_si512(sums + i * width);
  }
  transpose_words(block);
#pragma GCC unroll 16
  for (int i = 0; i < kSide; ++i) {
    if (kWhole || i < present) {
      const __m512 by = _mm512_mul_ps(scales, _mm512_set1_ps(input_scales[i]));
      const __m512 sum = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(block[i]), by), bias);
      // max returns its second operand when either is NaN, which relu keeps, or when both are zeros.
      _mm512_storeu_ps(y + i * stride, kRelu ? _mm512_max_ps(_mm512_setzero_ps(), sum) : sum);
    }
  }
}

template <bool kRelu>
void store_blocks(const int32_t* sums, int64_t rows, int64_t width, const PanelOutput o) {
  for (int64_t r = 0; r + kSide <= rows; r += kSide) {
    const __m512 scales = _mm512_loadu_ps(o.scales + r);
    const __m512 bias = o.bias == nullptr ? _mm512_setzero_ps() : _mm512_loadu_ps(o.bias + r);
    for (int64_t j = 0; j < o.count; j += kSide) {
      const int32_t* block = sums + r * width + j;
      float* y = o.y + j * o.stride + r;
      if (o.count - j >= kSide) {
        store_block<true, kRelu>(block, width, scales, bias, o.input_scales + j, y, o.stride, kSide);
      } else {
        store_block<false, kRelu>(block, width, scales, bias, o.input_scales + j, y, o.stride, o.count - j);
      }
    }
  }
}

/// As store_panel, but blocks of 16 x 16 are turned by unpacks, which g++ keeps in registers.
void store_quads(const int32_t* sums, int64_t rows, int64_t width, const PanelOutput& out) {
  (out.relu ? store_blocks<true> : store_blocks<false>)(sums, rows, width, out);
  const int64_t whole = rows / kSide * kSide;
  PanelOutput rest = out;
  rest.y += whole;
  rest.scales += whole;
  rest.bias = out.bias == nullptr ? nullptr : out.bias + whole;
  store_panel(sums + whole * width, rows - whole, width, rest);
}

}  // namespace

const PanelKernels avx512_vnni_quads = {kSide,           1, quantise_panel,      multiply_panel,  store_quads, widen_all<BFloat16>,
                                        widen_all<Half>, narrow_all<BFloat16>, narrow_all<Half>};

}  // namespace jouleprune::kernels::bsr_int8
