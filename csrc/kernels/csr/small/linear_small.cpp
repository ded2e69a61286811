#include "kernels/csr/small/linear_small.h"

#include <algorithm>
#include <memory>
#include <type_traits>

#include "kernels/caches.h"
#include "kernels/csr/panels.h"
#include "kernels/csr/scratch.h"
#include "kernels/csr/small/forms.h"
#include "kernels/denormals.h"

namespace jouleprune::kernels::csr::small {
namespace {

/// How a kernel wants the activations: element (j, c) at j * row_pitch + c * column_pitch, for c < columns.
struct InputLayout {
  int64_t columns, column_pitch, row_pitch;
};

/// The activations in that layout: the caller's own memory where it serves, else a copy with zeros as padding.
template <class T>
class Inputs {
  using A = Accumulate<T>;

 public:
  Inputs(const LinearParams<T>& p, const InputLayout& layout)
      : copy_(serves(p, layout) ? 0 : layout.columns * std::max(layout.column_pitch, p.n)) {
    if constexpr (std::is_same_v<T, A>) {
      data_ = p.input;
    }
    if (!serves(p, layout)) {
      fill(p, layout);
      data_ = copy_.data();
    }
  }
  const A* data() const { return data_; }

 private:
  static bool serves(const LinearParams<T>& p, const InputLayout& layout) {
    return std::is_same_v<T, A> && p.n == 1 && layout.column_pitch == 1 && layout.columns == p.csr.cols;
  }

  void fill(const LinearParams<T>& p, const InputLayout& layout) {
    A* const to = copy_.data();
    if (layout.columns != p.csr.cols || layout.column_pitch > p.n) {
      std::fill_n(to, layout.columns * std::max(layout.column_pitch, p.n), A{0});
    }
    for (int64_t j = 0; j < p.n; ++j) {
      const T* from = p.input + j * p.input_stride;
      for (int64_t c = 0; c < p.csr.cols; ++c) {
        to[j * layout.row_pitch + c * layout.column_pitch] = widen(from[c]);
      }
    }
  }

  Scratch<A> copy_;
  const A* data_ = nullptr;
};

/// Splits rows or strips [0, count) among the threads by kept weights; start(i): kept weights before item i.
template <class Start, class Body>
void split(int64_t count, int64_t n, const Start& start, const ParallelFor& parallel, const Body& body) {
  // An item begins where its kept weights do, plus one for each item before it, which tells empty ones apart.
  const auto item_at = [&](int64_t position) {
    int64_t low = 0, high = count;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      start(middle) + middle < position ? low = middle + 1 : high = middle;
    }
    return low;
  };
  constexpr int64_t kStreamWork = 4;  // a kept weight of one batch row costs about as much as this many of a panel's
  parallel(0, start(count) + count, grain_of(n + kStreamWork),
           [&](int64_t begin, int64_t end) {
             const FlushDenormals flush;
             body(item_at(begin), item_at(end));
           });
}

template <class T, class Index>
using RowsKernel = void (*)(const RowsView<T, Index>&, int64_t, int64_t, const Batch<T>&);

template <class T, class Index>
void run_rows(const LinearParams<T>& p, const RowsView<T, Index>& weight, RowsKernel<T, Index> kernel, const ParallelFor& parallel) {
  const int64_t pitch = p.n == 1 ? 1 : p.n <= 4 ? 4 : 8;
  const Inputs<T> inputs(p, {p.csr.cols, pitch, 1});
  const Batch<T> batch{inputs.data(), p.n, pitch, p.bias, p.activation, p.csr.rows, p.output};
  split(p.csr.rows, p.n, [&](int64_t row) { return weight.row_offsets[row]; }, parallel,
        [&](int64_t begin, int64_t end) { kernel(weight, begin, end, batch); });
}

template <class T, class Index>
void run_rows_form(const LinearParams<T>& p, RowsKernel<T, Index> kernel, const ParallelFor& parallel) {
  const auto form = form_of<RowsForm<Index>>(p.forms, {.kernel = "csr.small.rows", .details = {sizeof(Index)}, .of_values = false},
                                             [&] { return std::make_shared<const RowsForm<Index>>(p.csr); });
  run_rows<T, Index>(p, {form->row_offsets.data(), form->columns.data(), p.values}, kernel, parallel);
}

template <class T>
void linear_rows(const LinearParams<T>& p, const SmallKernels<T>& kernels, const ParallelFor& parallel) {
  if (p.forms == nullptr) {  // a form for one call would cost more than it saves
    return run_rows<T, int32_t>(p, {p.csr.row_offsets, p.csr.col_indices, p.values}, kernels.rows32, parallel);
  }
  p.csr.cols <= kMaxShortColumns ? run_rows_form(p, kernels.rows16, parallel) : run_rows_form(p, kernels.rows32, parallel);
}

template <class T>
void linear_bitmap(const LinearParams<T>& p, const SmallKernels<T>& kernels, const ParallelFor& parallel) {
  const auto form = form_of<BitmapForm<T>>(p.forms, {.kernel = "csr.small.bitmap"},
                                           [&] { return std::make_shared<const BitmapForm<T>>(p.csr, p.values); });
  const auto weight = form->view();
  const Inputs<T> inputs(p, {weight.columns, p.n, 1});
  const Batch<T> batch{inputs.data(), p.n, p.n, p.bias, p.activation, p.csr.rows, p.output};
  split(weight.strips, p.n, [&](int64_t strip) { return weight.starts[strip]; }, parallel,
        [&](int64_t begin, int64_t end) { kernels.bitmap(weight, begin, end, batch); });
}

template <class T>
void linear_jagged(const LinearParams<T>& p, const SmallKernels<T>& kernels, const ParallelFor& parallel) {
  const auto form = form_of<JaggedForm<T>>(p.forms, {.kernel = "csr.small.jagged"},
                                           [&] { return std::make_shared<const JaggedForm<T>>(p.csr, p.values); });
  const auto weight = form->view();
  const int64_t columns = weight.blocks_per_strip * kJaggedColumns;
  const Inputs<T> inputs(p, {columns, 1, columns});
  const Batch<T> batch{inputs.data(), p.n, columns, p.bias, p.activation, p.csr.rows, p.output};
  split(weight.strips, p.n, [&](int64_t strip) { return weight.starts[strip]; }, parallel,
        [&](int64_t begin, int64_t end) { kernels.jagged(weight, begin, end, batch); });
}

/// Half of the last-level cache is left to activations, other weights and other programs.
bool fits_cache(int64_t bytes) { return bytes <= last_level_cache() / 2; }

}  // namespace

template <class T>
bool has_kernel(SmallKernel kernel, Isa isa) {
  const auto& kernels = small_kernels<T>(isa);
  switch (kernel) {
    case SmallKernel::kRows: return true;
    case SmallKernel::kBitmap: return kernels.bitmap != nullptr;
    case SmallKernel::kJagged: return kernels.jagged != nullptr;
  }
  return false;
}

template <class T>
void linear(const LinearParams<T>& p, const ParallelFor& parallel, Isa isa, std::optional<SmallKernel> forced) {
  if (p.n == 0 || p.csr.rows == 0) {
    return;
  }
  const auto& kernels = small_kernels<T>(isa);
  constexpr int64_t kElement = sizeof(T);
  const SmallProblem problem{p.csr.rows, p.csr.cols, p.csr.nnz, p.n, kElement, isa, fits_cache(p.csr.nnz * (kElement + 1))};
  const SmallKernel kernel = forced.value_or(choose(problem));
  if constexpr (!std::is_same_v<T, double>) {
    if (kernel == SmallKernel::kBitmap) {
      return linear_bitmap(p, kernels, parallel);
    }
    if (kernel == SmallKernel::kJagged) {
      return linear_jagged(p, kernels, parallel);
    }
  }
  linear_rows(p, kernels, parallel);
}

#define JOULEPRUNE_INSTANTIATE(T)                                                                  \
  template bool has_kernel<T>(SmallKernel, Isa);                                                   \
  template void linear(const LinearParams<T>&, const ParallelFor&, Isa, std::optional<SmallKernel>);
JOULEPRUNE_INSTANTIATE(float)
JOULEPRUNE_INSTANTIATE(double)
JOULEPRUNE_INSTANTIATE(BFloat16)
JOULEPRUNE_INSTANTIATE(Half)
#undef JOULEPRUNE_INSTANTIATE

}  // namespace jouleprune::kernels::csr::small
