#include <type_traits>

#include "kernels/caches.h"
#include "kernels/csr/csr_kernels.h"
#include "kernels/csr/linear_code.h"
#include "kernels/csr/panels.h"
#include "kernels/csr/reference.h"
#include "kernels/csr/residual.h"
#include "kernels/csr/sampled_dots.h"
#include "kernels/csr/small/linear_small.h"
#include "kernels/csr/transpose.h"
#include "kernels/denormals.h"

namespace jouleprune::kernels::csr {
namespace {

/// Small products: their outputs are near, however they were made.
template <class T>
void add_whole_residual(const LinearParams<T>& p, Isa isa, const ParallelFor& parallel) {
  if (p.residual.values != nullptr) {
    parallel(0, p.n, grain_of(p.csr.rows), [&](int64_t begin, int64_t end) {
      add_residual(p, vector_kernels<T>(isa), Tile{begin, end - begin, 0, p.csr.rows});
    });
  }
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
    add_residual(p, kernels, Tile{panel.begin, panel.count, begin, end});
  };
  multiply_panels(problem, isa, parallel);
}

}  // namespace

template <class T>
void linear(const LinearParams<T>& p, const ParallelFor& parallel, Isa isa) {
  if (isa == Isa::kReference) {
    return reference::linear(p);
  }
  if (p.n <= small::kMaxBatch) {
    small::linear(p, parallel, isa);
    return add_whole_residual(p, isa, parallel);
  }
  if constexpr (!std::is_same_v<T, double>) {
    if (p.generated_code && has_linear_code<T>(isa) && linear_code_pays(p.csr, p.n, second_level_cache())) {
      auto choice = choose_linear_code(p.csr, p.n, isa, second_level_cache());
      choice.pairs = std::is_same_v<T, BFloat16> && isa == Isa::kAvx512 && bfloat16_pairs_pay();
      return linear_code(p, choice, parallel, isa);
    }
  }
  linear_panels<T>({p.csr, p.values, nullptr, p.bias, p.activation, p.forms}, p, isa, parallel);
}

template <class T>
void linear_backward_input(const LinearParams<T>& p, const ParallelFor& parallel, Isa isa) {
  if (isa == Isa::kReference) {
    return reference::linear_backward_input(p);
  }
  const auto transposed = transposed_form(p.forms, p.csr, 1);
  if constexpr (!std::is_same_v<T, double>) {
    if (p.generated_code && p.n > small::kMaxBatch && has_linear_code<T>(isa)) {
      LinearParams<T> gradient = p;
      gradient.bias = nullptr;
      gradient.activation = Activation::kNone;
      gradient.residual = {};
      return linear_code(gradient, choose_linear_code(transposed->view(), p.n, isa, second_level_cache()), parallel, isa, transposed.get());
    }
  }
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
