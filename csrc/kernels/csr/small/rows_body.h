// One row at a time over csr, with any index type: the portable kernel. Four sums hide the latency of the multiply-add. For more
// batch rows the activations of a column lie side by side and are multiplied at once: a load each of weight, index and
// activations per kept weight, whatever the batch. Included once per instruction set.
#pragma once
#include "kernels/csr/small/finish.h"

namespace jouleprune::kernels::csr::small {
namespace {

template <class A, int kWidth>
struct PackTypes {
  typedef A Type __attribute__((vector_size(kWidth * sizeof(A))));
  typedef A Loose __attribute__((vector_size(kWidth * sizeof(A)), aligned(alignof(A)), may_alias));
};

/// The sums, or the activations of one column, of kWidth batch rows.
template <class A, int kWidth>
struct Pack {
  typename PackTypes<A, kWidth>::Type lanes;
  [[gnu::always_inline]] void add_product(A w, const A* x) {
    lanes += w * *reinterpret_cast<const typename PackTypes<A, kWidth>::Loose*>(x);
  }
  [[gnu::always_inline]] void add(const Pack& other) { lanes += other.lanes; }
  [[gnu::always_inline]] void store(A* to) const { *reinterpret_cast<typename PackTypes<A, kWidth>::Loose*>(to) = lanes; }
};
template <class A>
struct Pack<A, 1> {
  A value;
  [[gnu::always_inline]] void add_product(A w, const A* x) { value += w * *x; }
  [[gnu::always_inline]] void add(const Pack& other) { value += other.value; }
  [[gnu::always_inline]] void store(A* to) const { *to = value; }
};

template <class T, class Index, int kWidth>
[[gnu::always_inline]] inline Pack<Accumulate<T>, kWidth> row_sum(const RowsView<T, Index>& weight, int64_t row,
                                                                  const Accumulate<T>* x) {
  constexpr int64_t kSums = 4;
  constexpr int64_t kAhead = 2048;  // bytes
  Pack<Accumulate<T>, kWidth> sums[kSums] = {};
  const int64_t last = weight.row_offsets[row + 1];
  int64_t k = weight.row_offsets[row];
  const auto add = [&](int64_t q) __attribute__((always_inline)) {
    sums[q].add_product(widen(weight.values[k + q]), x + static_cast<int64_t>(weight.columns[k + q]) * kWidth);
  };
  for (; k + kSums <= last; k += kSums) {
    __builtin_prefetch(reinterpret_cast<const char*>(weight.values + k) + kAhead);
    add(0), add(1), add(2), add(3);
  }
  switch (last - k) {  // one jump, and no chain of additions: rows of few values are mostly their ends
    case 3: add(2); [[fallthrough]];
    case 2: add(1); [[fallthrough]];
    case 1: add(0); [[fallthrough]];
    default: break;
  }
  sums[0].add(sums[1]), sums[2].add(sums[3]), sums[0].add(sums[2]);
  return sums[0];
}

template <class T, class Index, int kWidth>
void rows_of_width(const RowsView<T, Index>& weight, int64_t begin, int64_t end, const Batch<T>& batch) {
  constexpr int64_t kTile = 16;  // rows whose sums are kept, to be written side by side
  alignas(64) Accumulate<T> tile[kTile * kWidth];
  for (int64_t first = begin; first < end; first += kTile) {
    const int64_t count = end - first < kTile ? end - first : kTile;
    for (int64_t i = 0; i < count; ++i) {
      row_sum<T, Index, kWidth>(weight, first + i, batch.input).store(tile + i * kWidth);
    }
    for (int64_t j = 0; j < kWidth && j < batch.n; ++j) {
      finish(batch, first, count, j, tile + j, kWidth);
    }
  }
}

template <class T, class Index>
void rows(const RowsView<T, Index>& weight, int64_t begin, int64_t end, const Batch<T>& batch) {
  switch (batch.pitch) {
    case 1: return rows_of_width<T, Index, 1>(weight, begin, end, batch);
    case 4: return rows_of_width<T, Index, 4>(weight, begin, end, batch);
    default: return rows_of_width<T, Index, 8>(weight, begin, end, batch);
  }
}

}  // namespace
}  // namespace jouleprune::kernels::csr::small
