// Jagged blocks: the 64 activations of a block stay in four registers and are picked by vpermi2ps, so that a step of 16 kept
// weights costs two shuffles, one blend and one multiply-add. Removed weights occupy no lane; lanes past a step's count are
// masked. Included by avx512.cpp only.
#pragma once
#include "kernels/csr/small/avx512_loads.h"

namespace jouleprune::kernels::csr::small {
namespace {

[[gnu::always_inline]] inline __m512i widen_bytes(const uint8_t* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

struct Activations64 {
  __m512 quarter[4];
  [[gnu::always_inline]] void load(const float* x) {
    for (int q = 0; q < 4; ++q) {
      quarter[q] = _mm512_loadu_ps(x + 16 * q);
    }
  }
  /// Those at the columns given (each below 64), whose `upper` tells which are 32 or more.
  [[gnu::always_inline]] __m512 pick(__m512i columns, __mmask16 upper) const {
    return _mm512_mask_blend_ps(upper, _mm512_permutex2var_ps(quarter[0], columns, quarter[1]),
                                _mm512_permutex2var_ps(quarter[2], columns, quarter[3]));
  }
};

template <class T, int kBatch>
struct JaggedStep {
  __m512 weights;
  __m512i columns;
  __mmask16 upper;

  [[gnu::always_inline]] JaggedStep(const T* values, const uint8_t* from)
      : weights(load16(values)), columns(widen_bytes(from)), upper(_mm512_test_epi32_mask(columns, _mm512_set1_epi32(32))) {}
  [[gnu::always_inline]] void add_all(const Activations64 (&x)[kBatch], __m512 (&sums)[kBatch]) const {
    for (int j = 0; j < kBatch; ++j) {
      sums[j] = _mm512_fmadd_ps(weights, x[j].pick(columns, upper), sums[j]);
    }
  }
  [[gnu::always_inline]] void add(unsigned count, const Activations64 (&x)[kBatch], __m512 (&sums)[kBatch]) const {
    const auto lanes = static_cast<__mmask16>(0xffffu & ((1u << count) - 1));
    for (int j = 0; j < kBatch; ++j) {
      sums[j] = _mm512_mask3_fmadd_ps(weights, x[j].pick(columns, upper), sums[j], lanes);
    }
  }
};

/// Batch rows [first, first + kBatch) of one strip.
template <class T, int kBatch>
void jagged_rows(const JaggedView<T>& weight, int64_t strip, const Batch<T>& batch, int64_t first) {
  constexpr int64_t kAhead = 2048;
  const uint8_t* head = weight.blocks + weight.heads[strip];
  const uint8_t* columns = weight.columns + weight.starts[strip];
  const T* v = weight.values + weight.starts[strip];
  __m512 totals[2][kBatch];
  for (int j = 0; j < kBatch; ++j) {
    totals[0][j] = totals[1][j] = _mm512_setzero_ps();
  }
  for (int64_t block = 0; block < weight.blocks_per_strip; ++block) {
    const int steps = head[0], paired = head[1];
    const uint8_t* const place = head + 2;
    const uint8_t* const counts = head + sizeof(JaggedHead);
    head = counts + steps;
    const float* const input = batch.input + first * batch.pitch + block * kJaggedColumns;
    Activations64 x[kBatch];
    __m512 sums[2][kBatch];
    for (int j = 0; j < kBatch; ++j) {
      x[j].load(input + j * batch.pitch);
      sums[0][j] = sums[1][j] = _mm512_setzero_ps();
    }
    int step = 0;
    for (; step < paired; ++step) {
      prefetch(v, kAhead);
      prefetch(v, kAhead + 64);
      prefetch(columns, kAhead / 2);
      JaggedStep<T, kBatch>(v, columns).add_all(x, sums[0]);
      JaggedStep<T, kBatch>(v + 16, columns + 16).add(counts[step], x, sums[1]);
      v += 16 + counts[step];
      columns += 16 + counts[step];
    }
    for (; step < steps; ++step) {
      prefetch(v, kAhead);
      JaggedStep<T, kBatch>(v, columns).add(counts[step], x, sums[0]);
      v += counts[step];
      columns += counts[step];
    }
    const __m512i places[2] = {widen_bytes(place), widen_bytes(place + 16)};
    for (int j = 0; j < kBatch; ++j) {
      for (int half = 0; half < 2; ++half) {
        totals[half][j] = _mm512_add_ps(totals[half][j], _mm512_permutex2var_ps(sums[0][j], places[half], sums[1][j]));
      }
    }
  }
  for (int j = 0; j < kBatch; ++j) {
    for (int64_t half = 0; half < 2; ++half) {
      finish16(batch, strip * kJaggedRows + half * 16, first + j, totals[half][j]);
    }
  }
}

/// Two batch rows at a time: three would need more than the 32 registers. The strip is in the L2 cache the second time.
template <class T>
void jagged(const JaggedView<T>& weight, int64_t begin, int64_t end, const Batch<T>& batch) {
  for (int64_t strip = begin; strip < end; ++strip) {
    int64_t j = 0;
    for (; j + 2 <= batch.n; j += 2) {
      jagged_rows<T, 2>(weight, strip, batch, j);
    }
    if (j < batch.n) {
      jagged_rows<T, 1>(weight, strip, batch, j);
    }
  }
}

}  // namespace
}  // namespace jouleprune::kernels::csr::small
