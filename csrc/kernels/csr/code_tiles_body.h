// Compiled once per instruction set by code_tiles_{avx2,avx512}.cpp; internal linkage throughout, see vector.h.
#pragma once
#include "kernels/csr/code_tiles.h"
#include "kernels/csr/vector.h"

namespace jouleprune::kernels::csr {
namespace {

constexpr int kSide = kLanes<float>;

/// The first `count` lanes.
[[gnu::always_inline]] inline void store_part(float* to, Vector<float> v, int64_t count) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), v);
#else
  for (int64_t i = 0; i < count; ++i) {
    to[i] = v[i];
  }
#endif
}
template <class T>
[[gnu::always_inline]] inline void store_part(T* to, Vector<float> v, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = narrow<T>(v[i]);
  }
}

[[gnu::always_inline]] inline void store_whole(float* to, Vector<float> v) { store(to, v); }
template <class T>
[[gnu::always_inline]] inline void store_whole(T* to, Vector<float> v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 2 && !__is_same(T, BFloat16)) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    return;
  } else {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
    rounded = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), _mm512_set1_epi32(0x7fc0));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(rounded));
  }
#else
  store_part(to, v, kSide);
#endif
}

template <class T>
void finish(const float* sums, int64_t rows, int64_t count, bool relu, T* output, int64_t stride) {
  for (int64_t i = 0; i < rows; i += kSide) {
    Vector<float> block[kSide];
    for (int s = 0; s < kSide; ++s) {
      const Vector<float> v = load(sums + (i + s) * kSide);
      block[s] = relu ? (v < Vector<float>{} ? Vector<float>{} : v) : v;  // NaN stays NaN
    }
    transpose<float>(block);
    if (rows - i >= kSide) {
      for (int64_t j = 0; j < count; ++j) {
        store_whole(output + j * stride + i, block[j]);
      }
    } else {
      for (int64_t j = 0; j < count; ++j) {
        store_part(output + j * stride + i, block[j], rows - i);
      }
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
  return {finish<T>, prefetch<T>};
}

}  // namespace
}  // namespace jouleprune::kernels::csr
