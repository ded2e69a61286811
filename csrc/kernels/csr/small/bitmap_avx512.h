// Strips of 32 rows as bitmaps: per column and half strip one vexpandps puts the kept values into their rows' lanes, and one
// masked multiply-add per batch row takes them; both halves share the broadcast of the activation. The mask keeps removed
// weights from multiplying: 0 x Inf would be NaN. Included by avx512.cpp only.
#pragma once
#include "kernels/csr/small/avx512_loads.h"

namespace jouleprune::kernels::csr::small {
namespace {

/// vexpandps with zeros elsewhere. Assembly, because the zeroing form waits for whoever wrote its destination last (Zen 4:
/// 0.74 G/s into one register, 2.4 G/s into four), and compilers name the same one again; a freshly zeroed register is free.
[[gnu::always_inline]] inline __m512 expand(__mmask16 kept, __m512 values) {
  __m512 lanes = _mm512_setzero_ps();
  asm("vexpandps %1, %0 %{%2%}" : "+v"(lanes) : "v"(values), "Yk"(kept));
  return lanes;
}

template <class T, int kBatch>
void bitmap_strip(const BitmapView<T>& weight, int64_t strip, const Batch<T>& batch) {
  constexpr int kColumns = kBitmapColumnStep;
  constexpr int kSums = kBatch <= 2 ? kColumns : 1;  // per row and half: enough to hide the latency of the multiply-add
  constexpr int64_t kAhead = 2048;
  const uint32_t* mask = weight.masks + strip * weight.columns;
  const uint32_t* const last = mask + weight.columns;
  const T* v = weight.values + weight.starts[strip];
  const float* x = batch.input;
  __m512 sums[kBatch][2][kSums];
#pragma GCC unroll 8
  for (int j = 0; j < kBatch; ++j) {
    for (int s = 0; s < kSums; ++s) {
      sums[j][0][s] = sums[j][1][s] = _mm512_setzero_ps();
    }
  }
  for (; mask < last; mask += kColumns, x += kColumns * kBatch) {
    uint64_t masks;
    __builtin_memcpy(&masks, mask, sizeof masks);
    prefetch(v, kAhead);  // two lines of float32 hold the values of two columns at 50 %
    if (sizeof(T) == 4) {
      prefetch(v, kAhead + 64);
    }
#pragma GCC unroll 2
    for (int c = 0; c < kColumns; ++c) {
      __m512 w[2];
      __mmask16 kept[2];
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const int at = 32 * c + 16 * half;
        kept[half] = _cvtu32_mask16(static_cast<uint32_t>(masks >> at));
        w[half] = expand(kept[half], load16(v + (at == 0 ? 0 : __builtin_popcountll(masks << (64 - at)))));
      }
#pragma GCC unroll 8
      for (int j = 0; j < kBatch; ++j) {
        const __m512 input = _mm512_set1_ps(x[c * kBatch + j]);
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half) {
          sums[j][half][c % kSums] = _mm512_mask3_fmadd_ps(w[half], input, sums[j][half][c % kSums], kept[half]);
        }
      }
    }
    v += __builtin_popcountll(masks);
  }
#pragma GCC unroll 8
  for (int j = 0; j < kBatch; ++j) {  // unrolled, like all loops over the sums, so that they stay in registers
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      for (int s = 1; s < kSums; ++s) {
        sums[j][half][0] = _mm512_add_ps(sums[j][half][0], sums[j][half][s]);
      }
      finish16(batch, strip * kBitmapRows + half * 16, j, sums[j][half][0]);
    }
  }
}

template <class T, int kBatch>
void bitmap_strips(const BitmapView<T>& weight, int64_t begin, int64_t end, const Batch<T>& batch) {
  for (int64_t strip = begin; strip < end; ++strip) {
    bitmap_strip<T, kBatch>(weight, strip, batch);
  }
}

template <class T>
void bitmap(const BitmapView<T>& weight, int64_t begin, int64_t end, const Batch<T>& batch) {
  switch (batch.n) {
    case 1: return bitmap_strips<T, 1>(weight, begin, end, batch);
    case 2: return bitmap_strips<T, 2>(weight, begin, end, batch);
    case 3: return bitmap_strips<T, 3>(weight, begin, end, batch);
    case 4: return bitmap_strips<T, 4>(weight, begin, end, batch);
    case 5: return bitmap_strips<T, 5>(weight, begin, end, batch);
    case 6: return bitmap_strips<T, 6>(weight, begin, end, batch);
    case 7: return bitmap_strips<T, 7>(weight, begin, end, batch);
    default: return bitmap_strips<T, 8>(weight, begin, end, batch);
  }
}

}  // namespace
}  // namespace jouleprune::kernels::csr::small
