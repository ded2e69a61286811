// What the AVX-512 loops share. Included by avx512.cpp only.
#pragma once
#include <immintrin.h>

#include "kernels/csr/small/finish.h"

namespace jouleprune::kernels::csr::small {
namespace {

/// 16 values in float32. The empty assembly keeps the load apart from what uses it: vexpandps with a memory operand runs at
/// 1.4 G/s on Zen 4, a load and the register form at 2.3 G/s.
[[gnu::always_inline]] inline __m512 load16(const float* p) {
  __m512 v = _mm512_loadu_ps(p);
  asm("" : "+v"(v));
  return v;
}
[[gnu::always_inline]] inline __m512 load16(const BFloat16* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
[[gnu::always_inline]] inline __m512 load16(const Half* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

template <class T>
[[gnu::always_inline]] inline void prefetch(const T* p, int64_t bytes_ahead) {
  _mm_prefetch(reinterpret_cast<const char*>(p) + bytes_ahead, _MM_HINT_T0);
}

/// The results of 16 rows from `row` on, as far as there are so many.
template <class T>
[[gnu::always_inline]] inline void finish16(const Batch<T>& batch, int64_t row, int64_t j, __m512 sums) {
  alignas(64) float lanes[16];
  _mm512_store_ps(lanes, sums);
  const int64_t left = batch.rows - row;
  if (left >= 16) {
    finish(batch, row, 16, j, lanes, 1);  // a constant count: vector code
  } else {
    finish(batch, row, left, j, lanes, 1);
  }
}

}  // namespace
}  // namespace jouleprune::kernels::csr::small
