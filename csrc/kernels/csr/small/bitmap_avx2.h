// Strips of 32 rows as bitmaps, for processors without vexpandps: a table turns eight bits of the mask into a permutation that
// does the same. Included by avx2.cpp only.
#pragma once
#include <immintrin.h>

#include "kernels/csr/small/finish.h"

namespace jouleprune::kernels::csr::small {
namespace {

/// For each mask of eight rows and each row: which of the values is its own, with the sign bit set where it has one. vpermps
/// looks at the low bits, vblendvps at the sign.
struct ExpandTable {
  alignas(32) uint32_t places[256][8] = {};
  constexpr ExpandTable() {
    for (uint32_t mask = 0; mask < 256; ++mask) {
      for (uint32_t row = 0, next = 0; row < 8; ++row) {
        if ((mask >> row & 1) != 0) {
          places[mask][row] = next++ | 0x8000'0000u;
        }
      }
    }
  }
};
constexpr ExpandTable kExpand;

[[gnu::always_inline]] inline __m256 load8(const float* p) { return _mm256_loadu_ps(p); }
[[gnu::always_inline]] inline __m256 load8(const BFloat16* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
[[gnu::always_inline]] inline __m256 load8(const Half* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

/// Batch rows [first, first + kBatch) of one strip.
template <class T, int kBatch>
void bitmap_rows(const BitmapView<T>& weight, int64_t strip, const Batch<T>& batch, int64_t first) {
  constexpr int kQuarters = kBitmapRows / 8;
  constexpr int64_t kAhead = 2048;
  const uint32_t* const masks = weight.masks + strip * weight.columns;
  const T* v = weight.values + weight.starts[strip];
  const float* x = batch.input + first;
  __m256 sums[kBatch][kQuarters];
#pragma GCC unroll 2
  for (int j = 0; j < kBatch; ++j) {
#pragma GCC unroll 4
    for (int q = 0; q < kQuarters; ++q) {
      sums[j][q] = _mm256_setzero_ps();
    }
  }
  for (int64_t c = 0; c < weight.columns; ++c, x += batch.n) {
    const uint32_t mask = masks[c];
    _mm_prefetch(reinterpret_cast<const char*>(v) + kAhead, _MM_HINT_T0);
#pragma GCC unroll 4
    for (int q = 0; q < kQuarters; ++q) {
      const T* const from = v + __builtin_popcount(mask & ((1u << 8 * q) - 1));
      const __m256i place = _mm256_load_si256(reinterpret_cast<const __m256i*>(kExpand.places[mask >> 8 * q & 0xff]));
      const __m256 w = _mm256_permutevar8x32_ps(load8(from), place);
#pragma GCC unroll 2
      for (int j = 0; j < kBatch; ++j) {
        const __m256 sum = _mm256_fmadd_ps(w, _mm256_broadcast_ss(x + j), sums[j][q]);
        sums[j][q] = _mm256_blendv_ps(sums[j][q], sum, _mm256_castsi256_ps(place));  // removed weights add nothing, not 0 x Inf
      }
    }
    v += __builtin_popcount(mask);
  }
  const int64_t row = strip * kBitmapRows, left = batch.rows - row;
#pragma GCC unroll 2
  for (int j = 0; j < kBatch; ++j) {
    alignas(32) float lanes[kBitmapRows];
#pragma GCC unroll 4
    for (int q = 0; q < kQuarters; ++q) {
      _mm256_store_ps(lanes + 8 * q, sums[j][q]);
    }
    finish(batch, row, left < kBitmapRows ? left : kBitmapRows, first + j, lanes, 1);
  }
}

/// Two batch rows at a time: three would need more than the 16 registers.
template <class T>
void bitmap(const BitmapView<T>& weight, int64_t begin, int64_t end, const Batch<T>& batch) {
  for (int64_t strip = begin; strip < end; ++strip) {
    int64_t j = 0;
    for (; j + 2 <= batch.n; j += 2) {
      bitmap_rows<T, 2>(weight, strip, batch, j);
    }
    if (j < batch.n) {
      bitmap_rows<T, 1>(weight, strip, batch, j);
    }
  }
}

}  // namespace
}  // namespace jouleprune::kernels::csr::small
