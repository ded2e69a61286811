// Vectors of int16 pairs: made of floats, and multiplied. Written once, compiled once per instruction set; internal linkage
// throughout.
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

[[gnu::always_inline]] inline Words quantise_vector(Vector<float> x, Vector<float> inverse) {
  const Vector<float> least = splat(-kSteps), most = splat(kSteps), round = splat(0x1.8p23f);
  Vector<float> v = x * inverse;
  v = v > least ? v : least;
  v = v < most ? v : most;
  const Vector<float> rounded = v + round;
  return __builtin_convertvector(rounded - round, Words);
}
[[gnu::always_inline]] inline Words quantise_vector(const float* x, Vector<float> inverse) {
  return quantise_vector(load(x), inverse);
}

/// Whole numbers as bytes, 128 added.
[[gnu::always_inline]] inline void store_bytes(uint8_t* to, Words q) {
  typedef uint8_t Bytes __attribute__((vector_size(kWords)));
  const Bytes bytes = __builtin_convertvector(q + 128, Bytes);
  __builtin_memcpy(to, &bytes, sizeof(bytes));
}

/// The four bytes of a word, 128 taken off, as two words of int16 pairs.
[[gnu::always_inline]] inline void pairs_of_bytes(Words word, Words& first, Words& second) {
  const Words a = (word & 0xff) - 128, b = ((word >> 8) & 0xff) - 128;
  const Words c = ((word >> 16) & 0xff) - 128, d = ((word >> 24) & 0xff) - 128;
  first = (a & 0xffff) | (b << 16);
  second = (c & 0xffff) | (d << 16);
}

[[gnu::always_inline]] inline bool any_nan(Vector<float> v) {
  const Words nan = v != v;
  int32_t any = 0;
  for (int i = 0; i < kWords; ++i) {
    any |= nan[i];
  }
  return any != 0;
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

struct PutBytes {
  const PanelByteOutput& out;

  [[gnu::always_inline]] void operator()(Vector<float> v, int64_t j, int64_t r) const {
    if (any_nan(v)) {
      out.lost[j] = 1;
    }
    store_bytes(out.y + j * out.stride + r, quantise_vector(v, splat(out.inverse)));
  }
  [[gnu::always_inline]] void operator()(float v, int64_t j, int64_t r) const {
    if (v != v) {
      out.lost[j] = 1;
    }
    out.y[j * out.stride + r] = static_cast<uint8_t>(quantise(v, out.inverse) + 128);
  }
};

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

}  // namespace
}  // namespace jouleprune::kernels::bsr_int8
