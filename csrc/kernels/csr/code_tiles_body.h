// Compiled once per instruction set by code_tiles_{avx2,avx512}.cpp; internal linkage throughout, see vector.h.
#pragma once
#include "kernels/csr/code_tiles.h"
#include "kernels/csr/vector.h"

namespace jouleprune::kernels::csr {
namespace {

constexpr int kSide = kLanes<float>;  // batch rows of a vector

#if defined(__AVX512F__)
template <class T>
[[gnu::always_inline]] inline __m256i round_16(Vector<float> v) {
  if constexpr (__is_same(T, BFloat16)) {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(_mm512_srli_epi32(up, 16), nan, _mm512_set1_epi32(0x7fc0)));
  } else {
    return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
}
#endif

/// The first `count` lanes, 1 to kSide.
template <class T>
[[gnu::always_inline]] inline void store_part(T* to, Vector<float> v, int64_t count) {
#if defined(__AVX512F__)
  const auto mask = static_cast<__mmask16>((1u << count) - 1);
  if constexpr (__is_same(T, float)) {
    _mm512_mask_storeu_ps(to, mask, v);
  } else {
    _mm256_mask_storeu_epi16(to, mask, round_16<T>(v));
  }
#else
  for (int64_t i = 0; i < count; ++i) {
    to[i] = narrow<T>(v[i]);
  }
#endif
}

/// Up to kSide elements, widened; zeros past `count`.
template <class T>
[[gnu::always_inline]] inline Vector<float> load_part(const T* x, int64_t count) {
  Vector<float> v{};
  for (int64_t i = 0; i < count; ++i) {
    v[i] = widen(x[i]);
  }
  return v;
}
#if defined(__AVX512F__)
[[gnu::always_inline]] inline Vector<float> load_part(const float* x, int64_t count) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), x);
}
#endif

template <class T>
void pack(const T* x, int64_t stride, int64_t count, int64_t cols, float* panel) {
  for (int64_t c = 0; c < cols; c += kSide) {
    const int64_t width = cols - c < kSide ? cols - c : kSide;
    Vector<float> block[kSide];
    if (count == kSide && width == kSide) {
      load_transposed(x + c, stride, block);
    } else {
      for (int j = 0; j < kSide; ++j) {
        block[j] = j < count ? load_part(x + j * stride + c, width) : Vector<float>{};
      }
      transpose<float>(block);
    }
    for (int64_t i = 0; i < width; ++i) {
      store(panel + (c + i) * kSide, block[i]);
    }
  }
}

#if defined(__AVX512F__)
template <class T>
void pack_pairs(const T* x, int64_t stride, int64_t count, int64_t cols, float* panel) {
  constexpr int64_t kHalves = 2 * kSide;
  for (int64_t c = 0; c < cols; c += kHalves) {
    const int64_t width = cols - c < kHalves ? cols - c : kHalves;
    const auto mask = static_cast<__mmask32>((uint64_t{1} << width) - 1);
    Vector<float> block[kSide];
    for (int j = 0; j < kSide; ++j) {
      block[j] = j >= count ? Vector<float>{}
                            : _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(mask, x + j * stride + c));
    }
    transpose<float>(block);
    for (int64_t i = 0; 2 * i < width; ++i) {
      store(panel + (c / 2 + i) * kSide, block[i]);
    }
  }
}
#endif

template <class T>
void finish(const float* sums, int64_t rows, int64_t count, bool relu, T* output, int64_t stride) {
  for (int64_t i = 0; i < rows; i += kSide) {
    Vector<float> block[kSide];
    for (int s = 0; s < kSide; ++s) {
      const Vector<float> v = load(sums + (i + s) * kSide);
      block[s] = relu ? (v < Vector<float>{} ? Vector<float>{} : v) : v;  // NaN stays NaN
    }
    transpose<float>(block);
    const int64_t width = rows - i < kSide ? rows - i : kSide;
    for (int64_t j = 0; j < count; ++j) {
      store_part(output + j * stride + i, block[j], width);
    }
  }
}

template <class T>
void prefetch(T* output, int64_t rows, int64_t count, int64_t stride) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  for (int64_t j = 0; j < count; ++j) {
    T* const row = output + j * stride;
    for (int64_t i = 0; i < rows; i += kLine) {
      __builtin_prefetch(row + i, 1, 3);
    }
    __builtin_prefetch(row + rows - 1, 1, 3);
  }
}

template <class T>
constexpr CodeTiles<T> make_code_tiles() {
#if defined(__AVX512F__)
  return {pack<T>, sizeof(T) == 2 ? pack_pairs<T> : nullptr, finish<T>, prefetch<T>};
#else
  return {pack<T>, nullptr, finish<T>, prefetch<T>};
#endif
}

}  // namespace
}  // namespace jouleprune::kernels::csr
