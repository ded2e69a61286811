// Panels of four unsigned bytes a word, multiplied by vpdpbusd: four products and their sum, which does not saturate.
#include "kernels/bsr_int8/byte_blocks.h"
#include "kernels/bsr_int8/quad_words.h"
#include "kernels/bsr_int8/store_body.h"
#include "kernels/caches.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

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

/// Batch rows whose lines share one set of a first-level cache: 16 of them, a line each, would push one another out while they are
/// fetched. They leave row by row instead, several lines at a time. 1024 outputs x 256: 52 us instead of 78 (a Xeon with AMX).
void store_blocks_by_row(const int32_t* sums, int64_t rows, int64_t width, const PanelOutput& out) {
  constexpr int64_t kRows = 128, kStride = kRows + kSide;
  alignas(64) float turned[kSide * kStride];
  for (int64_t r = 0; r + kSide <= rows; r += kRows) {
    const int64_t here = (rows - r < kRows ? rows - r : kRows) / kSide * kSide;
    for (int64_t j = 0; j < out.count; j += kSide) {
      const int64_t present = out.count - j < kSide ? out.count - j : kSide;
      const PanelOutput part{turned, kStride, present, out.input_scales + j, out.scales + r, out.bias == nullptr ? nullptr : out.bias + r,
                             out.relu};
      (out.relu ? store_blocks<true> : store_blocks<false>)(sums + r * width + j, here, width, part);
      for (int64_t i = 0; i < present; ++i) {
        float* y = out.y + (j + i) * out.stride + r;
        for (int64_t c = 0; c < here; c += kSide) {
          _mm512_storeu_ps(y + c, _mm512_load_ps(turned + i * kStride + c));
        }
      }
    }
  }
}

/// As store_panel, but blocks of 16 x 16 are turned by unpacks, which g++ keeps in registers.
void store_quads(const int32_t* sums, int64_t rows, int64_t width, const PanelOutput& out) {
  constexpr int64_t kSetStride = 4096 / 4, kMeasuredL2 = 2 << 20;
  if (out.stride % kSetStride == 0 && out.count > 1 && second_level_cache() >= kMeasuredL2) {
    store_blocks_by_row(sums, rows, width, out);
  } else {
    (out.relu ? store_blocks<true> : store_blocks<false>)(sums, rows, width, out);
  }
  const int64_t whole = rows / kSide * kSide;
  PanelOutput rest = out;
  rest.y += whole;
  rest.scales += whole;
  rest.bias = out.bias == nullptr ? nullptr : out.bias + whole;
  store_panel(sums + whole * width, rows - whole, width, rest);
}

void store_quads_as_bytes(const int32_t* sums, int64_t rows, int64_t width, const PanelOutput& out, const PanelByteOutput& bytes) {
  (out.relu ? store_byte_blocks<true> : store_byte_blocks<false>)(sums, rows, width, out, bytes);
}

void round_to_bytes(const float* x, int64_t count, float inverse, uint8_t* to) {
  const __m512 by = _mm512_set1_ps(inverse);
  for (int64_t i = 0; i < count; i += kSide) {
    const auto present = static_cast<__mmask16>(count - i >= kSide ? 0xffff : (1 << (count - i)) - 1);
    const __m128i bytes = _mm512_cvtsepi32_epi8(quantise_16<true>(_mm512_maskz_loadu_ps(present, x + i), by));
    _mm_mask_storeu_epi8(to + i, present, _mm_xor_si128(bytes, _mm_set1_epi8(static_cast<char>(0x80))));
  }
}

/// A word of the input is a word of the panel: blocks of 16 x 16 of them are turned.
void spread_panel(const PanelBytes& in, int64_t width, void* panel) {
  for (int64_t j = 0; j < width; j += kSide) {
    auto* to = static_cast<int32_t*>(panel) + j;
    for (int64_t c = 0; c < in.cols; c += kColumns) {
      const int64_t left = in.cols - c;
      const __mmask64 present = left >= kColumns ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
      __m512i words[kSide];
#pragma GCC unroll 16
      for (int i = 0; i < kSide; ++i) {  // lanes beyond the batch repeat its first row
        words[i] = _mm512_mask_loadu_epi8(_mm512_set1_epi8(static_cast<char>(0x80)), present,
                                          in.x + (j + i < in.count ? j + i : 0) * in.stride + c);
      }
      transpose_words(words);
#pragma GCC unroll 16
      for (int p = 0; p < kSide; ++p) {
        if (4 * p < left) {
          _mm512_storeu_si512(to + (c / 4 + p) * width, words[p]);
        }
      }
    }
  }
}

}  // namespace

const PanelKernels avx512_vnni_quads = {
    kSide,          1,            quantise_panel,       multiply_panel,      store_quads,     largest_magnitude,
    round_to_bytes, spread_panel, store_quads_as_bytes, widen_all<BFloat16>, widen_all<Half>, narrow_all<BFloat16>,
    narrow_all<Half>};

}  // namespace jouleprune::kernels::bsr_int8
