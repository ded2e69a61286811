// Dot products: of sparse rows with one dense vector, and of dense vectors at kept entries. Included only by vector_body.h.
#pragma once
#include "kernels/csr/vector_activate.h"
#include "kernels/csr/vector_kernels.h"

namespace jouleprune::kernels::csr {
namespace {

template <class T>
void dot_rows(const Weight<T>& weight, int64_t begin, int64_t end, const Accumulate<T>* x, T* y) {
  using A = Accumulate<T>;
  constexpr int kStep = kLanes<A>;
  for (int64_t r = begin; r < end; ++r) {
    A total = weight.bias == nullptr ? A{0} : widen(weight.bias[r]);
    int64_t k = weight.row_offsets[r];
    const int64_t last = weight.row_offsets[r + 1];
    if (k + kStep <= last) {
      Vector<A> even{}, odd{};
      for (; k + 2 * kStep <= last; k += 2 * kStep) {
        even += load_wide(weight.values + k) * gather(x, weight.col_indices + k);
        odd += load_wide(weight.values + k + kStep) * gather(x, weight.col_indices + k + kStep);
      }
      if (k + kStep <= last) {
        even += load_wide(weight.values + k) * gather(x, weight.col_indices + k);
        k += kStep;
      }
      total += sum<A>(even + odd);
    }
    for (; k < last; ++k) {
      total += widen(weight.values[k]) * x[weight.col_indices[k]];
    }
    if (weight.activation != Activation::kNone) {
      alignas(kVectorBytes) A lanes[kStep] = {total};
      activate(weight.activation, lanes, kStep);
      total = lanes[0];
    }
    y[r] = narrow<T>(total);
  }
}

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
