// The last step of each product: bias, activation, rounding. Included once per instruction set.
#pragma once
#include "kernels/csr/small/kernels.h"
#include "kernels/csr/vector_activate.h"

namespace jouleprune::kernels::csr::small {
namespace {

/// Results of `count` rows from `row` on, of batch row j: sums[i * stride].
template <class T>
[[gnu::always_inline]] inline void finish(const Batch<T>& batch, int64_t row, int64_t count, int64_t j,
                                          const Accumulate<T>* sums, int64_t stride) {
  using A = Accumulate<T>;
  constexpr int64_t kChunk = 16;  // whole vectors of any instruction set
  for (int64_t first = 0; first < count; first += kChunk) {
    const int64_t width = count - first < kChunk ? count - first : kChunk;
    A lanes[kChunk] = {};
    for (int64_t i = 0; i < width; ++i) {
      const A bias = batch.bias == nullptr ? A{0} : widen(batch.bias[row + first + i]);
      lanes[i] = sums[(first + i) * stride] + bias;
    }
    activate(batch.activation, lanes, kChunk);
    T* const to = batch.output + j * batch.rows + row + first;
    for (int64_t i = 0; i < width; ++i) {
      to[i] = narrow<T>(lanes[i]);
    }
  }
}

}  // namespace
}  // namespace jouleprune::kernels::csr::small
