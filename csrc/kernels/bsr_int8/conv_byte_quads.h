// Convolution over quads whose pixels come or leave as bytes, and what it shares with conv_quads_avx512_vnni.cpp, which alone includes
// it. Internal linkage throughout.
#pragma once
#include "kernels/bsr_int8/byte_blocks.h"
#include "kernels/bsr_int8/conv_kernels.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

constexpr int kZeroWord = static_cast<int>(0x80808080u);  // four zeros, 128 added to each

__mmask16 first_lanes(int64_t count) { return static_cast<__mmask16>(count >= kSide ? 0xffff : (1 << count) - 1); }

void put_zeros(const PixelRun& run, int32_t* to) {
  int32_t* at = to + run.to + run.count;
  for (int64_t i = 0; i < run.zeros; i += kSide) {
    _mm512_mask_storeu_epi32(at + i, first_lanes(run.zeros - i), _mm512_set1_epi32(kZeroWord));
  }
}

/// max returns its second operand when either is NaN, which relu keeps, or when both are zeros.
template <bool kRelu>
[[gnu::always_inline]] inline __m512 finished(__m512i sums, __m512 scale, __m512 bias) {
  const __m512 sum = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), scale), bias);
  return kRelu ? _mm512_max_ps(_mm512_setzero_ps(), sum) : sum;
}

/// 16 sums as bytes. Adds to `nan` the lanes that hold one.
template <bool kRelu>
[[gnu::always_inline]] inline __m128i finished_bytes(const int32_t* sums, __m512 scale, __m512 bias, __m512 inverse, __mmask16& nan) {
  const __m512 v = finished<kRelu>(_mm512_loadu_si512(sums), scale, bias);
  nan |= _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  return _mm_xor_si128(_mm512_cvtsepi32_epi8(quantise_16<true>(v, inverse)), _mm_set1_epi8(static_cast<char>(0x80)));
}

template <bool kRelu>
void store_byte_rows(const int32_t* tile, int64_t width, int64_t rows, const OutputRun* runs, int64_t run_count, const TileOutput& o,
                     const TileBytes& bytes) {
  const __m512 inverse = _mm512_set1_ps(bytes.inverse);
  for (int64_t r = 0; r < rows; ++r, tile += width) {
    const __m512 bias = _mm512_set1_ps(o.bias == nullptr ? 0.0f : o.bias[r]);
    for (const OutputRun* run = runs; run != runs + run_count; ++run) {
      const __m512 scale = _mm512_set1_ps(o.scales[r] * run->input_scale);
      const int32_t* sums = tile + run->at;
      uint8_t* y = bytes.y + run->to + r * o.channel_stride;
      __mmask16 nan = 0;
      int64_t i = 0;
      for (; i + kSide <= run->count; i += kSide) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i), finished_bytes<kRelu>(sums + i, scale, bias, inverse, nan));
      }
      if (i < run->count) {  // tiles are readable beyond their last run
        __mmask16 beyond = 0;
        const __mmask16 present = first_lanes(run->count - i);
        _mm_mask_storeu_epi8(y + i, present, finished_bytes<kRelu>(sums + i, scale, bias, inverse, beyond));
        nan |= beyond & present;
      }
      if (nan != 0) {
        bytes.lost[run->image] = 1;
      }
    }
  }
}

void store_byte_planes(const int32_t* tile, int64_t width, int64_t rows, const OutputRun* runs, int64_t run_count,
                       const TileOutput& o, const TileBytes& bytes) {
  (o.relu ? store_byte_rows<true> : store_byte_rows<false>)(tile, width, rows, runs, run_count, o, bytes);
}

/// Pixels are the lanes of a panel whose rows all have the scale of the image.
void store_byte_pixels(const int32_t* tile, int64_t width, int64_t rows, const OutputRun* runs, int64_t run_count,
                       const TileOutput& o, const TileBytes& bytes) {
  for (const OutputRun* run = runs; run != runs + run_count; ++run) {
    float scales[kSide];
    _mm512_storeu_ps(scales, _mm512_set1_ps(run->input_scale));
    uint8_t lost[kSide] = {};
    for (int64_t i = 0; i < run->count; i += kSide) {
      const int64_t count = run->count - i < kSide ? run->count - i : kSide;
      const PanelOutput panel{nullptr, o.channel_stride, count, scales, o.scales, o.bias, o.relu};
      const PanelByteOutput out{bytes.y + run->to + i * o.channel_stride, o.channel_stride, bytes.inverse, lost};
      (o.relu ? store_byte_blocks<true> : store_byte_blocks<false>)(tile + run->at + i, rows, width, panel, out);
    }
    for (const uint8_t pixel : lost) {
      bytes.lost[run->image] |= pixel;
    }
  }
}

/// Up to 16 bytes that are `stride` apart.
[[gnu::always_inline]] inline __m128i load_byte_pixels(const uint8_t* x, int64_t stride, int64_t count) {
  if (stride == 1) {
    return _mm_maskz_loadu_epi8(first_lanes(count), x);
  }
  if (stride == 2) {
    const int64_t bytes = count >= kSide ? 2 * kSide - 1 : 2 * count - 1;
    return _mm256_cvtepi16_epi8(_mm256_maskz_loadu_epi8(static_cast<__mmask32>((uint64_t{1} << bytes) - 1), x));
  }
  uint8_t picked[kSide] = {};
  for (int64_t i = 0; i < kSide && i < count; ++i) {
    picked[i] = x[i * stride];
  }
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(picked));
}

/// Up to 16 words of four channels. kWhole: there are 16 pixels, neighbours in memory. A channel that is missing is 0.
template <int kChannels, bool kWhole>
[[gnu::always_inline]] inline void fill_byte_words(const ByteSource& s, const uint8_t* x, int64_t count, int32_t* to) {
  __m128i channel[4];
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const uint8_t* from = x + c * s.channel_stride;
    channel[c] = c >= kChannels ? _mm_set1_epi8(static_cast<char>(0x80))
                 : kWhole       ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(from))
                                : load_byte_pixels(from, s.pixel_stride, count);
  }
  const __m128i low01 = _mm_unpacklo_epi8(channel[0], channel[1]), high01 = _mm_unpackhi_epi8(channel[0], channel[1]);
  const __m128i low23 = _mm_unpacklo_epi8(channel[2], channel[3]), high23 = _mm_unpackhi_epi8(channel[2], channel[3]);
  const __m256i low = _mm256_set_m128i(_mm_unpackhi_epi16(low01, low23), _mm_unpacklo_epi16(low01, low23));
  const __m256i high = _mm256_set_m128i(_mm_unpackhi_epi16(high01, high23), _mm_unpacklo_epi16(high01, high23));
  const __m512i words = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  if constexpr (kWhole) {
    _mm512_storeu_si512(to, words);
  } else {
    _mm512_mask_storeu_epi32(to, first_lanes(count), words);
  }
}

template <int kChannels>
void fill_byte_runs(const ByteSource& s, const PixelRun* runs, int64_t run_count, int32_t* to) {
  for (const PixelRun* run = runs; run != runs + run_count; ++run) {
    const uint8_t* x = s.x + run->from;
    int64_t i = 0;
    for (; s.pixel_stride == 1 && i + kSide <= run->count; i += kSide) {
      fill_byte_words<kChannels, true>(s, x + i, kSide, to + run->to + i);
    }
    for (; i < run->count; i += kSide) {
      fill_byte_words<kChannels, false>(s, x + i * s.pixel_stride, run->count - i, to + run->to + i);
    }
    put_zeros(*run, to);
  }
}

void fill_byte_planes(const ByteSource& s, const PixelRun* runs, int64_t run_count, int32_t* to, int64_t /*plane*/) {
  switch (s.channels) {
    case 1: return fill_byte_runs<1>(s, runs, run_count, to);
    case 2: return fill_byte_runs<2>(s, runs, run_count, to);
    case 3: return fill_byte_runs<3>(s, runs, run_count, to);
    default: return fill_byte_runs<4>(s, runs, run_count, to);
  }
}

/// Words of a pixel are words of the raster: blocks of 16 x 16 of them are turned.
void fill_byte_pixels(const ByteSource& s, const PixelRun* runs, int64_t run_count, int32_t* to, int64_t plane) {
  const int64_t planes = (s.channels + 3) / 4;
  for (const PixelRun* run = runs; run != runs + run_count; ++run) {
    for (int64_t i = 0; i < run->count; i += kSide) {
      const uint8_t* x = s.x + run->from + i * s.pixel_stride;
      const int64_t count = run->count - i < kSide ? run->count - i : kSide;
      for (int64_t c = 0; c < s.channels; c += kColumns) {
        const int64_t left = s.channels - c;
        const __mmask64 present = left >= kColumns ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
        __m512i words[kSide];
#pragma GCC unroll 16
        for (int p = 0; p < kSide; ++p) {  // lanes beyond the run repeat its first pixel
          words[p] = _mm512_mask_loadu_epi8(_mm512_set1_epi32(kZeroWord), present, x + (p < count ? p : 0) * s.pixel_stride + c);
        }
        transpose_words(words);
#pragma GCC unroll 16
        for (int p = 0; p < kSide; ++p) {
          if (4 * p < left) {
            _mm512_mask_storeu_epi32(to + (c / 4 + p) * plane + run->to + i, first_lanes(count), words[p]);
          }
        }
      }
    }
    for (int64_t p = 0; p < planes; ++p) {
      put_zeros(*run, to + p * plane);
    }
  }
}

}  // namespace
}  // namespace jouleprune::kernels::bsr_int8
