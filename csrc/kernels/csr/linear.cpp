#include <algorithm>
#include <type_traits>

#include "kernels/csr/csr_kernels.h"
#include "kernels/csr/panels.h"
#include "kernels/csr/reference.h"
#include "kernels/csr/sampled_dots.h"
#include "kernels/csr/scratch.h"
#include "kernels/csr/transpose.h"
#include "kernels/denormals.h"

namespace jouleprune::kernels::csr {
namespace {

constexpr int64_t kSmallBatch = 8;  // below: a dot product per output, whose gathers cost less than packing a panel

template <class T>
void linear_small(const LinearParams<T>& p, const Weight<T>& weight, const VectorKernels<T>& kernels,
                  const ParallelFor& parallel) {
  using A = Accumulate<T>;
  constexpr bool kWiden = !std::is_same_v<T, A>;
  Scratch<A> wide(kWiden ? p.n * p.csr.cols : 0);
  if constexpr (kWiden) {
    for (int64_t j = 0; j < p.n; ++j) {
      std::transform(p.input + j * p.input_stride, p.input + j * p.input_stride + p.csr.cols, wide.data() + j * p.csr.cols,
                     [](T x) { return widen(x); });
    }
  }
  const int64_t blocks = std::clamp<int64_t>(p.csr.nnz / 4096, 1, std::max<int64_t>(p.csr.rows, 1));
  const auto bounds = balanced_rows(p.csr.row_offsets, 0, p.csr.rows, blocks);
  constexpr int64_t kGatherWork = 8;  // a gathered multiply-add costs about as much as this many of a panel's
  parallel(0, blocks, grain_of(p.csr.nnz * p.n * kGatherWork / blocks), [&](int64_t begin, int64_t end) {
    const FlushDenormals flush;
    for (int64_t j = 0; j < p.n; ++j) {
      const A* x = nullptr;
      if constexpr (kWiden) {
        x = wide.data() + j * p.csr.cols;
      } else {
        x = p.input + j * p.input_stride;
      }
      kernels.dot_rows(weight, bounds[begin], bounds[end], x, p.output + j * p.csr.rows);
    }
  });
}

/// `p.input` [n, weight columns] times `weight`.
template <class T>
void linear_panels(const PanelWeight<T>& weight, const LinearParams<T>& p, Isa isa, const ParallelFor& parallel) {
  const auto& kernels = vector_kernels<T>(isa);
  const int64_t rows = weight.csr.rows;
  PanelProblem<T> problem{weight, 0, rows, p.n, {}, {}, {}};
  problem.fill = [&](const Panel& panel, int64_t begin, int64_t end, Accumulate<T>* to) {
    kernels.pack(p.input + panel.begin * p.input_stride + begin, p.input_stride, panel.count, end - begin, panel.width, to);
  };
  problem.prepare_store = [&](const Panel& panel, int64_t begin, int64_t end) {
    kernels.prepare_unpack(p.output + panel.begin * rows + begin, rows, end - begin, panel.count);
  };
  problem.store = [&](const Panel& panel, int64_t begin, int64_t end, const Accumulate<T>* tile) {
    kernels.unpack(tile, end - begin, panel.width, panel.count, p.output + panel.begin * rows + begin, rows);
  };
  multiply_panels(problem, isa, parallel);
}

}  // namespace

template <class T>
void linear(const LinearParams<T>& p, const ParallelFor& parallel, Isa isa) {
  if (isa == Isa::kReference) {
    return reference::linear(p);
  }
  if (p.n < kSmallBatch) {
    const Weight<T> weight{p.values, p.csr.col_indices, p.csr.row_offsets, p.bias, p.activation};
    return linear_small(p, weight, vector_kernels<T>(isa), parallel);
  }
  linear_panels<T>({p.csr, p.values, nullptr, p.bias, p.activation, p.forms}, p, isa, parallel);
}

template <class T>
void linear_backward_input(const LinearParams<T>& p, const ParallelFor& parallel, Isa isa) {
  if (isa == Isa::kReference) {
    return reference::linear_backward_input(p);
  }
  const auto transposed = transposed_form(p.forms, p.csr, 1);
  const PanelWeight<T> weight{transposed->view(), p.values, transposed->positions().data(), nullptr, Activation::kNone, p.forms};
  linear_panels(weight, p, isa, parallel);
}

template <class T>
void linear_backward_values(const LinearValuesParams<T>& p, const ParallelFor& parallel, Isa isa) {
  if (isa == Isa::kReference) {
    return reference::linear_backward_values(p);
  }
  const auto& kernels = vector_kernels<T>(isa);
  SampledProblem<T> problem{p.csr.col_indices, p.csr.row_offsets, 0, p.csr.rows, p.csr.cols, p.n, {}, {}, p.grad_values};
  problem.fill_rows = [&](const Panel& panel, int64_t begin, int64_t end, Accumulate<T>* to) {
    kernels.pack(p.grad_output + panel.begin * p.grad_output_stride + begin, p.grad_output_stride, panel.count, end - begin,
                 panel.width, to);
  };
  problem.fill_cols = [&](const Panel& panel, int64_t begin, int64_t end, Accumulate<T>* to) {
    kernels.pack(p.input + panel.begin * p.input_stride + begin, p.input_stride, panel.count, end - begin, panel.width, to);
  };
  sampled_dots(problem, isa, parallel);
}

// Time of the kept entries over time of torch's dense product, on one core of an AMD Zen 4: 1.03 / 0.45 / 0.25 / 0.17 at a kept
// share of 0.5 / 0.2 / 0.1 / 0.05 (768 x 768, 192 columns); reading half of the entries from the dense product adds 0.13 to it.
bool dense_values_gradient(const formats::CsrView& csr, bool bfloat16) {
  const double elements = static_cast<double>(csr.rows) * static_cast<double>(csr.cols);
  const double density = static_cast<double>(csr.nnz) / std::max(1.0, elements);
  return density > (bfloat16 ? 0.27 : 0.55);
}

#define JOULEPRUNE_INSTANTIATE(T)                                                                \
  template void linear(const LinearParams<T>&, const ParallelFor&, Isa);                         \
  template void linear_backward_input(const LinearParams<T>&, const ParallelFor&, Isa);          \
  template void linear_backward_values(const LinearValuesParams<T>&, const ParallelFor&, Isa);
JOULEPRUNE_INSTANTIATE(float)
JOULEPRUNE_INSTANTIATE(double)
JOULEPRUNE_INSTANTIATE(BFloat16)
JOULEPRUNE_INSTANTIATE(Half)
#undef JOULEPRUNE_INSTANTIATE

}  // namespace jouleprune::kernels::csr
