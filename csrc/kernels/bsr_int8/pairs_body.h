// Panels of int16 pairs, multiplied by pmaddwd (two products and their sum in 32 bits, exact): every processor of the
// architecture has it. Written once, compiled by pairs_{portable,avx2,avx512}.cpp. Internal linkage throughout.
#pragma once
#include "kernels/bsr_int8/quantise.h"
#include "kernels/bsr_int8/store_body.h"
#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace jouleprune::kernels::bsr_int8 {
namespace {

using Words = Vector<int32_t>;
constexpr int kWords = kLanes<int32_t>;

/// Sums of the two products of int16 in each word.
[[gnu::always_inline]] inline Words multiply_pairs(Words x, Words w) {
#if defined(__AVX512BW__)
  return reinterpret_cast<Words>(_mm512_madd_epi16(reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(w)));
#elif defined(__AVX2__)
  return reinterpret_cast<Words>(_mm256_madd_epi16(reinterpret_cast<__m256i>(x), reinterpret_cast<__m256i>(w)));
#elif defined(__SSE2__)
  return reinterpret_cast<Words>(_mm_madd_epi16(reinterpret_cast<__m128i>(x), reinterpret_cast<__m128i>(w)));
#else
  const Words low_x = (x << 16) >> 16, low_w = (w << 16) >> 16;
  return low_x * low_w + (x >> 16) * (w >> 16);
#endif
}

[[gnu::always_inline]] inline Words as_words(Vector<float> v) { return reinterpret_cast<Words>(v); }

[[gnu::always_inline]] inline Words quantise_vector(const float* x, Vector<float> inverse) {
  const Vector<float> least = splat(-kSteps), most = splat(kSteps), round = splat(0x1.8p23f);
  Vector<float> v = load(x) * inverse;
  v = v > least ? v : least;
  v = v < most ? v : most;
  const Vector<float> rounded = v + round;
  return __builtin_convertvector(rounded - round, Words);
}

[[gnu::always_inline]] inline int32_t pair(int32_t low, int32_t high) {
  return static_cast<int32_t>((static_cast<uint32_t>(low) & 0xffffu) | static_cast<uint32_t>(high) << 16);
}

/// Neighbours of two vectors of whole numbers as pairs.
template <class W>  // a template for the branches alone
[[gnu::always_inline]] inline W pairs_of(W a, W b) {
  constexpr int n = sizeof(W) / sizeof(int32_t);
  W even, odd;
  if constexpr (n == 16) {
    even = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    odd = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  } else if constexpr (n == 8) {
    even = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
    odd = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
  } else {
    even = __builtin_shufflevector(a, b, 0, 2, 4, 6);
    odd = __builtin_shufflevector(a, b, 1, 3, 5, 7);
  }
  return (even & 0xffff) | (odd << 16);
}

uint32_t largest_magnitude(const float* x, int64_t count) {
  Words most{};
  int64_t c = 0;
  for (; c + kWords <= count; c += kWords) {
    const Words bits = as_words(load(x + c)) & static_cast<int32_t>(kMagnitudeBits);
    most = bits > most ? bits : most;
  }
  int32_t largest = 0;
  for (int i = 0; i < kWords; ++i) {
    largest = most[i] > largest ? most[i] : largest;
  }
  for (; c < count; ++c) {
    const auto bits = static_cast<int32_t>(magnitude_bits(x[c]));
    largest = bits > largest ? bits : largest;
  }
  return static_cast<uint32_t>(largest);
}

void quantise_panel(const PanelInput& in, int64_t width, void* panel, float* scales) {
  auto* words = static_cast<int32_t*>(panel);
  for (int64_t j = 0; j < width; j += kWords) {
    const float* rows[kWords];
    float inverse[kWords];
    for (int i = 0; i < kWords; ++i) {
      const int64_t row = j + i < in.count ? j + i : 0;  // lanes beyond the batch repeat its first row
      rows[i] = in.x + row * in.stride;
      const RowScale scale = row_scale(largest_magnitude(rows[i], in.cols), in.given_scale);
      scales[j + i] = scale.scale;
      inverse[i] = scale.inverse;
    }
    int64_t c = 0;
    for (; c + 2 * kWords <= in.cols; c += 2 * kWords) {
      Vector<float> block[kWords];
      for (int i = 0; i < kWords; ++i) {
        const Vector<float> by = splat(inverse[i]);
        block[i] = reinterpret_cast<Vector<float>>(
            pairs_of(quantise_vector(rows[i] + c, by), quantise_vector(rows[i] + c + kWords, by)));
      }
      transpose<float>(block);
      for (int i = 0; i < kWords; ++i) {
        store(words + (c / 2 + i) * width + j, as_words(block[i]));
      }
    }
    for (; c < in.cols; c += 4) {
      for (int i = 0; i < kWords; ++i) {
        int32_t q[4];
        for (int s = 0; s < 4; ++s) {
          q[s] = c + s < in.cols ? quantise(rows[i][c + s], inverse[i]) : 0;
        }
        words[c / 2 * width + j + i] = pair(q[0], q[1]);
        words[(c / 2 + 1) * width + j + i] = pair(q[2], q[3]);
      }
    }
  }
}

template <int kVectors>
void multiply_rows(const PanelWeight& weight, int64_t begin, int64_t end, const int32_t* panel, int32_t* sums) {
  constexpr int64_t kWidth = kVectors * kWords;
  const auto* values = reinterpret_cast<const int32_t*>(weight.values);
  int64_t next[kUnitRows];
  for (int64_t r = begin; r < end; ++r) {
    next[r - begin] = weight.row_offsets[r];
  }
  for (int64_t block = 0; block == 0 || block < weight.cols; block += weight.column_block) {
    const bool last_block = block + weight.column_block >= weight.cols;
    for (int64_t r = begin; r < end; ++r) {
      int32_t* to = sums + (r - begin) * kWidth;
      Words sum[kVectors];
      for (int q = 0; q < kVectors; ++q) {
        sum[q] = block == 0 ? splat(weight.start[r]) : load(to + q * kWords);
      }
      int64_t k = next[r - begin], last = weight.row_offsets[r + 1];
      if (!last_block) {
        last = first_beyond(weight.columns, k, last, block + weight.column_block);
      }
      next[r - begin] = last;
      for (; k < last; ++k) {
        const int32_t* x = panel + weight.columns[k] * 2 * kWidth;
        const Words first = splat(values[2 * k]), second = splat(values[2 * k + 1]);
        for (int q = 0; q < kVectors; ++q) {
          sum[q] += multiply_pairs(load(x + q * kWords), first) + multiply_pairs(load(x + kWidth + q * kWords), second);
        }
      }
      for (int q = 0; q < kVectors; ++q) {
        store(to + q * kWords, sum[q]);
      }
    }
  }
}

void multiply_panel(const PanelWeight& weight, int64_t begin, int64_t end, const void* panel, int64_t width, int32_t* sums) {
  const auto* words = static_cast<const int32_t*>(panel);
  switch (width / kWords) {
    case 1: return multiply_rows<1>(weight, begin, end, words, sums);
    case 2: return multiply_rows<2>(weight, begin, end, words, sums);
    case 3: return multiply_rows<3>(weight, begin, end, words, sums);
    default: return multiply_rows<4>(weight, begin, end, words, sums);
  }
}

constexpr PanelKernels make_pairs_table() {
  return {kWords,     2, quantise_panel, multiply_panel, store_panel, widen_all<BFloat16>, widen_all<Half>, narrow_all<BFloat16>,
          narrow_all<Half>};
}

}  // namespace
}  // namespace jouleprune::kernels::bsr_int8
