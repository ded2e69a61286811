// Panels of activations from batch-major rows, and results back: transposes of square blocks held in registers. Included only by
// vector_body.h.
#pragma once
#include "kernels/csr/vector.h"

namespace jouleprune::kernels::csr {
namespace {

/// Rounds kLanes sums and stores them.
template <class T>
[[gnu::always_inline]] inline void store_narrow(T* p, Vector<Accumulate<T>> v) {
  if constexpr (sizeof(T) == sizeof(Accumulate<T>)) {
    store(p, v);
  } else {
    for (int i = 0; i < kLanes<Accumulate<T>>; ++i) {
      p[i] = narrow<T>(v[i]);
    }
  }
}
#if defined(__AVX512F__)
template <>
[[gnu::always_inline]] inline void store_narrow<Half>(Half* p, Vector<float> v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
template <>
[[gnu::always_inline]] inline void store_narrow<BFloat16>(BFloat16* p, Vector<float> v) {
  const __m512i bits = reinterpret_cast<__m512i>(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd), 16);
  rounded = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), _mm512_set1_epi32(0x7fc0));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(rounded));
}
#elif defined(__AVX2__)
template <>
[[gnu::always_inline]] inline void store_narrow<Half>(Half* p, Vector<float> v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
template <>
[[gnu::always_inline]] inline void store_narrow<BFloat16>(BFloat16* p, Vector<float> v) {
  const __m256i bits = reinterpret_cast<__m256i>(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd), 16);
  rounded = _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc0), _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
  const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(rounded, rounded), 0x88);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
}
#endif

template <class T>
void pack(const T* x, int64_t stride, int64_t n, int64_t cols, int64_t width, Accumulate<T>* panel) {
  using A = Accumulate<T>;
  constexpr int kSide = kLanes<A>;
  for (int64_t j = 0; j < width; j += kSide) {
    const int64_t present = n - j;  // of the kSide batch rows; may be 0 or less
    int64_t c = 0;
    for (; present > 0 && c + kSide <= cols; c += kSide) {
      Vector<A> block[kSide];
      if (present >= kSide) {
        load_transposed(x + j * stride + c, stride, block);
      } else {
        for (int i = 0; i < kSide; ++i) {
          block[i] = i < present ? load_wide(x + (j + i) * stride + c) : Vector<A>{};
        }
        transpose<A>(block);
      }
      for (int i = 0; i < kSide; ++i) {
        store(panel + (c + i) * width + j, block[i]);
      }
    }
    for (; c < cols; ++c) {
      for (int i = 0; i < kSide; ++i) {
        panel[c * width + j + i] = i < present ? widen(x[(j + i) * stride + c]) : A{0};
      }
    }
  }
}

template <class T>
void unpack(const Accumulate<T>* tile, int64_t rows, int64_t width, int64_t n, T* y, int64_t stride) {
  using A = Accumulate<T>;
  constexpr int kSide = kLanes<A>;
  for (int64_t i = 0; i < rows; i += kSide) {
    const int64_t present = rows - i < kSide ? rows - i : kSide;
    for (int64_t j = 0; j < n; j += kSide) {
      const int64_t count = n - j < kSide ? n - j : kSide;
      Vector<A> block[kSide];
      if (present == kSide) {
        load_transposed(tile + i * width + j, width, block);
      } else {
        for (int s = 0; s < kSide; ++s) {
          block[s] = s < present ? load(tile + (i + s) * width + j) : Vector<A>{};
        }
        transpose<A>(block);
      }
      T* to = y + j * stride + i;
      if (present == kSide) {
        for (int s = 0; s < kSide; ++s) {
          if (s < count) {
            store_narrow<T>(to + s * stride, block[s]);
          }
        }
      } else {
        for (int64_t s = 0; s < count; ++s) {
          alignas(kVectorBytes) T row[kSide];
          store_narrow<T>(row, block[s]);
          for (int64_t q = 0; q < present; ++q) {
            to[s * stride + q] = row[q];
          }
        }
      }
    }
  }
}

template <class T>
void prepare_unpack(T* y, int64_t stride, int64_t rows, int64_t n) {
  constexpr int64_t kLine = 64 / sizeof(T);
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = 0; i < rows; i += kLine) {
      __builtin_prefetch(y + j * stride + i, 1, 3);
    }
    if (reinterpret_cast<uintptr_t>(y + j * stride) % 64 != 0) {  // one line more
      __builtin_prefetch(y + j * stride + rows - 1, 1, 3);
    }
  }
}

}  // namespace
}  // namespace jouleprune::kernels::csr
