// Convolution over quads of unsigned bytes, multiplied by vpdpbusd.
#include "kernels/bsr_int8/conv_byte_quads.h"
#include "kernels/bsr_int8/conv_kernels.h"
#include "kernels/bsr_int8/quad_words.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

/// Up to 16 pixels that are `stride` elements apart; the others are 0.
[[gnu::always_inline]] inline __m512 load_pixels(const float* x, int64_t stride, int64_t count) {
  if (stride == 1) {
    return _mm512_maskz_loadu_ps(first_lanes(count), x);
  }
  if (stride == 2) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const int64_t elements = count >= kSide ? 2 * kSide - 1 : 2 * count - 1;
    const __m512 low = _mm512_maskz_loadu_ps(first_lanes(elements), x);
    const __m512 high = _mm512_maskz_loadu_ps(elements > kSide ? first_lanes(elements - kSide) : 0, x + kSide);
    return _mm512_permutex2var_ps(low, even, high);
  }
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i index = _mm512_mullo_epi32(lane, _mm512_set1_epi32(static_cast<int>(stride)));
  return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), first_lanes(count), index, x, 4);
}

/// 16 numbers of steps as whole numbers; beyond 127 steps they are 127, or anything below -127.
template <bool kGiven>
[[gnu::always_inline]] inline __m512i whole_steps(__m512 x, __m512 inverse) {
  __m512 v = _mm512_mul_ps(x, inverse);
  if constexpr (kGiven) {
    v = _mm512_min_ps(v, _mm512_set1_ps(kSteps));  // what is no int32 becomes the least of them
  }
  return _mm512_cvt_roundps_epi32(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/// Up to 16 words of one quad of kChannels. kWhole: there are 16 pixels, neighbours in memory. Adds to `nan` where the scale is given.
template <bool kGiven, int kChannels, bool kWhole>
[[gnu::always_inline]] inline void fill_words(const PixelSource& s, const float* x, int64_t count, __m512 inverse, int32_t* to,
                                              __mmask16& nan) {
  const __m512i to_unsigned = _mm512_set1_epi32(kZeroWord), least = _mm512_set1_epi8(-127);
  const __m512i by_pixel = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  __m512 v[4] = {};
  __m512i q[4] = {};
#pragma GCC unroll 4
  for (int c = 0; c < kChannels; ++c) {
    const float* from = x + c * s.channel_stride;
    v[c] = kWhole ? _mm512_loadu_ps(from) : load_pixels(from, s.pixel_stride, count);
    q[c] = whole_steps<kGiven>(v[c], inverse);
  }
  // Packs saturate; within each quarter of the vector they leave four pixels of channel 0, four of channel 1, ...
  __m512i bytes = _mm512_packs_epi16(_mm512_packs_epi32(q[0], q[1]), _mm512_packs_epi32(q[2], q[3]));
  if constexpr (kGiven) {
    nan |= _mm512_cmp_ps_mask(v[0], v[1], _CMP_UNORD_Q) | _mm512_cmp_ps_mask(v[2], v[3], _CMP_UNORD_Q);
    bytes = _mm512_max_epi8(bytes, least);
  }
  const __m512i words = _mm512_xor_si512(_mm512_shuffle_epi8(bytes, by_pixel), to_unsigned);
  if constexpr (kWhole) {
    _mm512_storeu_si512(to, words);
  } else {
    _mm512_mask_storeu_epi32(to, first_lanes(count), words);
  }
}

/// A run of one quad. Returns whether a NaN was among it, where the scale is given.
template <bool kGiven, int kChannels>
bool fill_quad(const PixelSource& s, const float* x, int64_t count, float inverse, int32_t* to) {
  const __m512 by = _mm512_set1_ps(inverse);
  __mmask16 nan = 0;
  int64_t i = 0;
  for (; s.pixel_stride == 1 && i + kSide <= count; i += kSide) {
    fill_words<kGiven, kChannels, true>(s, x + i, kSide, by, to + i, nan);
  }
  for (; i < count; i += kSide) {
    fill_words<kGiven, kChannels, false>(s, x + i * s.pixel_stride, count - i, by, to + i, nan);
  }
  return nan != 0;
}

template <bool kGiven, int kChannels>
void fill_quad_runs(const PixelSource& s, const PixelRun* runs, int64_t run_count, int32_t* to) {
  for (const PixelRun* run = runs; run != runs + run_count; ++run) {
    if (fill_quad<kGiven, kChannels>(s, s.x + run->from, run->count, s.inverse[run->image], to + run->to)) {
      s.lost[run->image] = 1;
    }
    put_zeros(*run, to);
  }
}

template <bool kGiven>
void fill_quad_of(const PixelSource& s, const PixelRun* runs, int64_t run_count, int32_t* to) {
  switch (s.channels) {
    case 1: return fill_quad_runs<kGiven, 1>(s, runs, run_count, to);
    case 2: return fill_quad_runs<kGiven, 2>(s, runs, run_count, to);
    case 3: return fill_quad_runs<kGiven, 3>(s, runs, run_count, to);
    default: return fill_quad_runs<kGiven, 4>(s, runs, run_count, to);
  }
}

void fill_planes(const PixelSource& s, const PixelRun* runs, int64_t run_count, int32_t* to, int64_t /*plane*/) {
  (s.given ? fill_quad_of<true> : fill_quad_of<false>)(s, runs, run_count, to);
}

/// Up to 16 pixels, all channels of a group.
template <bool kGiven>
void fill_some_pixels(const PixelSource& s, const float* x, int64_t count, float inverse, int32_t* to, int64_t plane) {
  const float* rows[kSide];
  float inverses[kSide];
  for (int i = 0; i < kSide; ++i) {
    rows[i] = x + (i < count ? i : 0) * s.pixel_stride;  // lanes beyond the run repeat its first pixel
    inverses[i] = inverse;
  }
  int64_t c = 0;
  for (; c + kColumns <= s.channels; c += kColumns) {
    quantise_block<kGiven, true, true>(rows, inverses, c, kColumns, to + c / 4 * plane, plane, first_lanes(count));
  }
  if (c < s.channels) {
    quantise_block<kGiven, false, true>(rows, inverses, c, s.channels - c, to + c / 4 * plane, plane, first_lanes(count));
  }
}

void fill_pixels(const PixelSource& s, const PixelRun* runs, int64_t run_count, int32_t* to, int64_t plane) {
  const int64_t planes = (s.channels + 3) / 4;
  for (const PixelRun* run = runs; run != runs + run_count; ++run) {
    for (int64_t i = 0; i < run->count; i += kSide) {
      const float* x = s.x + run->from + i * s.pixel_stride;
      const int64_t count = run->count - i < kSide ? run->count - i : kSide;
      for (int64_t p = 0; s.given && p < count; ++p) {
        if (largest_magnitude(x + p * s.pixel_stride, s.channels) > kInfinityBits) {
          s.lost[run->image] = 1;
        }
      }
      (s.given ? fill_some_pixels<true> : fill_some_pixels<false>)(s, x, count, s.inverse[run->image], to + run->to + i, plane);
    }
    for (int64_t p = 0; p < planes; ++p) {
      put_zeros(*run, to + p * plane);
    }
  }
}

/// One row at a time; two quads in flight hide the latency of the multiply-add.
template <int kVectors>
void multiply_rows(const RasterWeight& weight, int64_t begin, int64_t end, const int32_t* x, int32_t* tile, int64_t width) {
  for (int64_t r = begin; r < end; ++r, tile += width) {
    __m512i even[kVectors], odd[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      even[v] = _mm512_set1_epi32(weight.start[r]);
      odd[v] = _mm512_setzero_si512();
    }
    int64_t k = weight.row_offsets[r];
    const int64_t last = weight.row_offsets[r + 1];
    for (; k + 2 <= last; k += 2) {
      const int32_t *x0 = x + weight.columns[k], *x1 = x + weight.columns[k + 1];
      const __m512i w0 = _mm512_set1_epi32(static_cast<int>(weight.values[k]));
      const __m512i w1 = _mm512_set1_epi32(static_cast<int>(weight.values[k + 1]));
      for (int v = 0; v < kVectors; ++v) {
        even[v] = _mm512_dpbusd_epi32(even[v], _mm512_loadu_si512(x0 + v * kSide), w0);
        odd[v] = _mm512_dpbusd_epi32(odd[v], _mm512_loadu_si512(x1 + v * kSide), w1);
      }
    }
    if (k < last) {
      const int32_t* x0 = x + weight.columns[k];
      const __m512i w = _mm512_set1_epi32(static_cast<int>(weight.values[k]));
      for (int v = 0; v < kVectors; ++v) {
        even[v] = _mm512_dpbusd_epi32(even[v], _mm512_loadu_si512(x0 + v * kSide), w);
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      _mm512_storeu_si512(tile + v * kSide, _mm512_add_epi32(even[v], odd[v]));
    }
  }
}

void multiply(const RasterWeight& weight, int64_t begin, int64_t end, const int32_t* x, int64_t vectors, int32_t* tile,
              int64_t width) {
  for (; vectors >= 4; vectors -= 4, x += 4 * kSide, tile += 4 * kSide) {
    multiply_rows<4>(weight, begin, end, x, tile, width);
  }
  switch (vectors) {
    case 3: return multiply_rows<3>(weight, begin, end, x, tile, width);
    case 2: return multiply_rows<2>(weight, begin, end, x, tile, width);
    case 1: return multiply_rows<1>(weight, begin, end, x, tile, width);
    default: return;
  }
}

template <bool kRelu>
void store_rows(const int32_t* tile, int64_t width, int64_t rows, const OutputRun* runs, int64_t run_count, const TileOutput& o) {
  for (int64_t r = 0; r < rows; ++r, tile += width) {
    const __m512 bias = _mm512_set1_ps(o.bias == nullptr ? 0.0f : o.bias[r]);
    for (const OutputRun* run = runs; run != runs + run_count; ++run) {
      const __m512 scale = _mm512_set1_ps(o.scales[r] * run->input_scale);
      const int32_t* sums = tile + run->at;
      float* y = o.y + run->to + r * o.channel_stride;
      int64_t i = 0;
      for (; i + kSide <= run->count; i += kSide) {
        _mm512_storeu_ps(y + i, finished<kRelu>(_mm512_loadu_si512(sums + i), scale, bias));
      }
      if (i < run->count) {
        _mm512_mask_storeu_ps(y + i, first_lanes(run->count - i), finished<kRelu>(_mm512_loadu_si512(sums + i), scale, bias));
      }
    }
  }
}

void store_planes(const int32_t* tile, int64_t width, int64_t rows, const OutputRun* runs, int64_t run_count, const TileOutput& o) {
  (o.relu ? store_rows<true> : store_rows<false>)(tile, width, rows, runs, run_count, o);
}

/// Up to 16 pixels of up to 16 rows. kWhole: there are 16 rows.
template <bool kRelu, bool kWhole>
[[gnu::always_inline]] inline void store_square(const int32_t* sums, int64_t width, int64_t rows, int64_t pixels, __m512 scale,
                                                __m512 bias, float* y, int64_t pixel_stride) {
  __m512i block[kSide];
#pragma GCC unroll 16
  for (int i = 0; i < kSide; ++i) {
    block[i] = kWhole || i < rows ? _mm512_loadu_si512(sums + i * width) : _mm512_setzero_si512();
  }
  transpose_words(block);
#pragma GCC unroll 16
  for (int i = 0; i < kSide; ++i) {
    if (i < pixels) {
      const __m512 out = finished<kRelu>(block[i], scale, bias);
      if constexpr (kWhole) {
        _mm512_storeu_ps(y + i * pixel_stride, out);
      } else {
        _mm512_mask_storeu_ps(y + i * pixel_stride, first_lanes(rows), out);
      }
    }
  }
}

template <bool kRelu>
void store_squares(const int32_t* tile, int64_t width, int64_t rows, const OutputRun* runs, int64_t run_count, const TileOutput& o) {
  for (int64_t r = 0; r < rows; r += kSide) {
    const int64_t here = rows - r < kSide ? rows - r : kSide;
    const __m512 scales = _mm512_maskz_loadu_ps(first_lanes(here), o.scales + r);
    const __m512 bias = o.bias == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(first_lanes(here), o.bias + r);
    for (const OutputRun* run = runs; run != runs + run_count; ++run) {
      const __m512 scale = _mm512_mul_ps(scales, _mm512_set1_ps(run->input_scale));
      for (int64_t i = 0; i < run->count; i += kSide) {
        const int32_t* sums = tile + r * width + run->at + i;
        float* y = o.y + run->to + i * o.channel_stride + r;
        (here == kSide ? store_square<kRelu, true> : store_square<kRelu, false>)(sums, width, here, run->count - i, scale, bias, y,
                                                                                 o.channel_stride);
      }
    }
  }
}

void store_pixels(const int32_t* tile, int64_t width, int64_t rows, const OutputRun* runs, int64_t run_count, const TileOutput& o) {
  (o.relu ? store_squares<true> : store_squares<false>)(tile, width, rows, runs, run_count, o);
}

}  // namespace

const ConvKernels avx512_vnni_conv_quads = {
    kSide,        1,            largest_magnitude, fill_planes,      fill_pixels,       multiply,
    store_planes, store_pixels, fill_byte_planes,  fill_byte_pixels, store_byte_planes, store_byte_pixels};

}  // namespace jouleprune::kernels::bsr_int8
