// Dot products of dense vectors at kept entries. Included only by vector_body.h.
#pragma once
#include "kernels/csr/vector_activate.h"
#include "kernels/csr/vector_kernels.h"

namespace jouleprune::kernels::csr {
namespace {

/// Lane i of the result: the sum of the lanes of rows[i].
template <class A>
[[gnu::always_inline]] inline Vector<A> sum_each(Vector<A> (&rows)[kLanes<A>]) {
#pragma GCC unroll 4
  for (int half = kLanes<A> / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i) {  // each row adds its halves and shares the vector with another
      rows[i] = interleave<0, A>(rows[i], rows[i + half]) + interleave<1, A>(rows[i], rows[i + half]);
    }
  }
  return rows[0];
}

template <class A>
void sampled_dots(const A* g, const A* columns, int64_t length, const int32_t* index, int64_t count, A* sums) {
  constexpr int kBatch = kLanes<A>;
  constexpr int kTogether = kBatch < 8 ? kBatch : 8;  // one load of g serves eight columns
  for (int64_t first = 0; first < count; first += kBatch) {
    const int64_t present = count - first < kBatch ? count - first : kBatch;
    Vector<A> rows[kBatch];
    for (int b = 0; b < kBatch; b += kTogether) {
      const A* column[kTogether];
      for (int i = 0; i < kTogether; ++i) {
        column[i] = columns + index[first + (b + i < present ? b + i : present - 1)] * length;
      }
      Vector<A> dots[kTogether] = {};
      for (int64_t at = 0; at < length; at += kLanes<A>) {
        const Vector<A> v = load(g + at);
#pragma GCC unroll 8
        for (int i = 0; i < kTogether; ++i) {
          dots[i] += v * load(column[i] + at);
        }
      }
      for (int i = 0; i < kTogether; ++i) {
        rows[b + i] = dots[i];
      }
      if (b + kTogether >= present) {
        for (int i = b + kTogether; i < kBatch; ++i) {
          rows[i] = Vector<A>{};
        }
        break;
      }
    }
    const Vector<A> totals = sum_each<A>(rows);
    if (present == kBatch) {
      store(sums + first, load(sums + first) + totals);
    } else {
      for (int64_t i = 0; i < present; ++i) {
        sums[first + i] += totals[i];
      }
    }
  }
}

}  // namespace
}  // namespace jouleprune::kernels::csr
