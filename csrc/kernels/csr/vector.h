// Vectors of the width this file is compiled for. Included only by vector_body.h: everything here has internal linkage, for no
// copy of it may be shared between files compiled for different instruction sets (which is why std:: is avoided, too).
#pragma once
#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "kernels/scalar_types.h"

namespace jouleprune::kernels::csr {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class A>
struct VectorTypes {
  typedef A Type __attribute__((vector_size(kVectorBytes)));
  typedef A Loose __attribute__((vector_size(kVectorBytes), aligned(alignof(A)), may_alias));
};
template <class A>
using Vector = typename VectorTypes<A>::Type;
template <class A>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(A));

template <class A>
[[gnu::always_inline]] inline Vector<A> splat(A x) {
  return x - Vector<A>{};
}

template <class A>
[[gnu::always_inline]] inline Vector<A> load(const A* p) {
  return *reinterpret_cast<const typename VectorTypes<A>::Loose*>(p);
}

template <class A>
[[gnu::always_inline]] inline void store(A* p, Vector<A> v) {
  *reinterpret_cast<typename VectorTypes<A>::Loose*>(p) = v;
}

/// Loads kLanes elements and widens them.
template <class T>
[[gnu::always_inline]] inline Vector<Accumulate<T>> load_wide(const T* p) {
  Vector<Accumulate<T>> v;
  for (int i = 0; i < kLanes<Accumulate<T>>; ++i) {
    v[i] = widen(p[i]);
  }
  return v;
}
template <>
[[gnu::always_inline]] inline Vector<float> load_wide<float>(const float* p) {
  return load(p);
}
template <>
[[gnu::always_inline]] inline Vector<double> load_wide<double>(const double* p) {
  return load(p);
}
#if defined(__AVX512F__)
template <>
[[gnu::always_inline]] inline Vector<float> load_wide<BFloat16>(const BFloat16* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return reinterpret_cast<Vector<float>>(_mm512_slli_epi32(wide, 16));
}
template <>
[[gnu::always_inline]] inline Vector<float> load_wide<Half>(const Half* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
#elif defined(__AVX2__)
template <>
[[gnu::always_inline]] inline Vector<float> load_wide<BFloat16>(const BFloat16* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return reinterpret_cast<Vector<float>>(_mm256_slli_epi32(wide, 16));
}
template <>
[[gnu::always_inline]] inline Vector<float> load_wide<Half>(const Half* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
#endif

/// Lanes 2i and 2i + 1 of the result: lane i + kHalf * (kLanes / 2) of a and of b.
template <int kHalf, class A>
[[gnu::always_inline]] inline Vector<A> interleave(Vector<A> a, Vector<A> b) {
  constexpr int n = kLanes<A>, h = kHalf * n / 2;
  if constexpr (n == 16) {
    return __builtin_shufflevector(a, b, h, n + h, h + 1, n + h + 1, h + 2, n + h + 2, h + 3, n + h + 3, h + 4, n + h + 4,
                                   h + 5, n + h + 5, h + 6, n + h + 6, h + 7, n + h + 7);
  } else if constexpr (n == 8) {
    return __builtin_shufflevector(a, b, h, n + h, h + 1, n + h + 1, h + 2, n + h + 2, h + 3, n + h + 3);
  } else if constexpr (n == 4) {
    return __builtin_shufflevector(a, b, h, n + h, h + 1, n + h + 1);
  } else {
    static_assert(n == 2);
    return __builtin_shufflevector(a, b, h, n + h);
  }
}

/// Transposes a square block held in registers: log2(kLanes) rounds of interleaving row i with row i + kLanes / 2.
template <class A>
[[gnu::always_inline]] inline void transpose(Vector<A> (&rows)[kLanes<A>]) {
  constexpr int n = kLanes<A>;
  for (int round = 1; round < n; round *= 2) {
    Vector<A> next[n];
    for (int i = 0; i < n / 2; ++i) {
      next[2 * i] = interleave<0, A>(rows[i], rows[i + n / 2]);
      next[2 * i + 1] = interleave<1, A>(rows[i], rows[i + n / 2]);
    }
    for (int i = 0; i < n; ++i) {
      rows[i] = next[i];
    }
  }
}

// The same for float32 by shuffles that need no index registers: two blocks of 16 vectors already fill the register file.
#if defined(__AVX512F__)
template <>
[[gnu::always_inline]] inline void transpose<float>(Vector<float> (&rows)[16]) {
  __m512 t[16];
  for (int i = 0; i < 16; i += 4) {  // 4 x 4 blocks within each quarter
    const __m512 low01 = _mm512_unpacklo_ps(rows[i], rows[i + 1]), high01 = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    const __m512 low23 = _mm512_unpacklo_ps(rows[i + 2], rows[i + 3]), high23 = _mm512_unpackhi_ps(rows[i + 2], rows[i + 3]);
    t[i] = _mm512_shuffle_ps(low01, low23, 0x44);
    t[i + 1] = _mm512_shuffle_ps(low01, low23, 0xee);
    t[i + 2] = _mm512_shuffle_ps(high01, high23, 0x44);
    t[i + 3] = _mm512_shuffle_ps(high01, high23, 0xee);
  }
  for (int i = 0; i < 4; ++i) {  // the quarters among each other
    const __m512 a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88), b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
    const __m512 c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88), d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
    rows[i] = _mm512_shuffle_f32x4(a, c, 0x88);
    rows[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
    rows[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
    rows[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
  }
}
#elif defined(__AVX2__)
template <>
[[gnu::always_inline]] inline void transpose<float>(Vector<float> (&rows)[8]) {
  __m256 t[8];
  for (int i = 0; i < 8; i += 4) {
    const __m256 low01 = _mm256_unpacklo_ps(rows[i], rows[i + 1]), high01 = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    const __m256 low23 = _mm256_unpacklo_ps(rows[i + 2], rows[i + 3]), high23 = _mm256_unpackhi_ps(rows[i + 2], rows[i + 3]);
    t[i] = _mm256_shuffle_ps(low01, low23, 0x44);
    t[i + 1] = _mm256_shuffle_ps(low01, low23, 0xee);
    t[i + 2] = _mm256_shuffle_ps(high01, high23, 0x44);
    t[i + 3] = _mm256_shuffle_ps(high01, high23, 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    rows[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
    rows[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
  }
}
#endif

/// block[c][r] = element c of row r at p + r * stride: loads and transposes a square block.
template <class T>
[[gnu::always_inline]] inline void load_transposed(const T* p, int64_t stride,
                                                   Vector<Accumulate<T>> (&block)[kLanes<Accumulate<T>>]) {
  for (int i = 0; i < kLanes<Accumulate<T>>; ++i) {
    block[i] = load_wide(p + i * stride);
  }
  transpose<Accumulate<T>>(block);
}
// Float by quarters of vectors, which loads put in place: two rounds of shuffles are left of four (of three with eight lanes).
// Shuffles are what a transpose costs: 590 KB there and back take 68 us with four rounds, 45 us with two (one core of a Zen 4).
#if defined(__AVX512F__)
template <>
[[gnu::always_inline]] inline void load_transposed<float>(const float* p, int64_t stride, Vector<float> (&block)[16]) {
#pragma GCC unroll 4
  for (int c = 0; c < 16; c += 4) {
    __m512 rows[4];  // rows[k]: four elements each of rows k, k + 4, k + 8, k + 12
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const float* from = p + k * stride + c;
      rows[k] = _mm512_castps128_ps512(_mm_loadu_ps(from));
      rows[k] = _mm512_mask_broadcast_f32x4(rows[k], 0x00f0, _mm_loadu_ps(from + 4 * stride));
      rows[k] = _mm512_mask_broadcast_f32x4(rows[k], 0x0f00, _mm_loadu_ps(from + 8 * stride));
      rows[k] = _mm512_mask_broadcast_f32x4(rows[k], 0xf000, _mm_loadu_ps(from + 12 * stride));
    }
    const __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(rows[0], rows[1]));
    const __m512d b = _mm512_castps_pd(_mm512_unpackhi_ps(rows[0], rows[1]));
    const __m512d d = _mm512_castps_pd(_mm512_unpacklo_ps(rows[2], rows[3]));
    const __m512d e = _mm512_castps_pd(_mm512_unpackhi_ps(rows[2], rows[3]));
    block[c] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, d));
    block[c + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, d));
    block[c + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, e));
    block[c + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, e));
  }
}
#elif defined(__AVX2__)
template <>
[[gnu::always_inline]] inline void load_transposed<float>(const float* p, int64_t stride, Vector<float> (&block)[8]) {
#pragma GCC unroll 2
  for (int c = 0; c < 8; c += 4) {
    __m256 rows[4];  // rows[k]: four elements each of rows k and k + 4
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const float* from = p + k * stride + c;
      rows[k] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from)), _mm_loadu_ps(from + 4 * stride), 1);
    }
    const __m256d a = _mm256_castps_pd(_mm256_unpacklo_ps(rows[0], rows[1]));
    const __m256d b = _mm256_castps_pd(_mm256_unpackhi_ps(rows[0], rows[1]));
    const __m256d d = _mm256_castps_pd(_mm256_unpacklo_ps(rows[2], rows[3]));
    const __m256d e = _mm256_castps_pd(_mm256_unpackhi_ps(rows[2], rows[3]));
    block[c] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, d));
    block[c + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, d));
    block[c + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(b, e));
    block[c + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(b, e));
  }
}
#endif

}  // namespace
}  // namespace jouleprune::kernels::csr
