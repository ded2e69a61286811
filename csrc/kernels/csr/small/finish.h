// The last step of each product: bias, activation, rounding. Included once per instruction set.
#pragma once
#include "kernels/csr/small/kernels.h"

namespace jouleprune::kernels::csr::small {
namespace {

/// Results of `count` rows from `row` on, of batch row j: sums[i * stride].
template <class T>
[[gnu::always_inline]] inline void finish(const Batch<T>& batch, int64_t row, int64_t count, int64_t j,
                                          const Accumulate<T>* sums, int64_t stride) {
  using A = Accumulate<T>;
  T* const to = batch.output + j * batch.rows + row;
  for (int64_t i = 0; i < count; ++i) {
    const A sum = batch.bias == nullptr ? sums[i * stride] : sums[i * stride] + widen(batch.bias[row + i]);
    to[i] = narrow<T>(batch.relu && sum < A{0} ? A{0} : sum);
  }
}

}  // namespace
}  // namespace jouleprune::kernels::csr::small
