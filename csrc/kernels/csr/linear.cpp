#include "kernels/csr/csr_kernels.h"
#include "kernels/csr/panels.h"
#include "kernels/csr/reference.h"
#include "kernels/csr/sampled_dots.h"
#include "kernels/csr/small/linear_small.h"
#include "kernels/csr/transpose.h"

namespace jouleprune::kernels::csr {
namespace {

template <class T>
void linear_panels(const Weight<T>& weight, const LinearParams<T>& p, int64_t rows, int64_t cols,
                   const VectorKernels<T>& kernels, const ParallelFor& parallel) {
  PanelProblem<T> problem{weight, 0, rows, cols, p.n, {}, {}};
  problem.fill = [&](const Panel& panel, int64_t begin, int64_t end, Accumulate<T>* to) {
    kernels.pack(p.input + panel.begin * p.input_stride + begin, p.input_stride, panel.count, end - begin, panel.width, to);
  };
  problem.store = [&](const Panel& panel, int64_t begin, int64_t end, const Accumulate<T>* tile) {
    kernels.unpack(tile, end - begin, panel.width, panel.count, p.output + panel.begin * rows + begin, rows);
  };
  multiply_panels(problem, kernels, parallel);
}

}  // namespace

template <class T>
void linear(const LinearParams<T>& p, const ParallelFor& parallel, Isa isa) {
  if (isa == Isa::kReference) {
    return reference::linear(p);
  }
  if (p.n <= small::kMaxBatch) {
    return small::linear(p, parallel, isa);
  }
  const Weight<T> weight{p.values, p.csr.col_indices, p.csr.row_offsets, p.bias, p.relu};
  linear_panels(weight, p, p.csr.rows, p.csr.cols, vector_kernels<T>(isa), parallel);
}

template <class T>
void linear_backward_input(const LinearParams<T>& p, const ParallelFor& parallel, Isa isa) {
  if (isa == Isa::kReference) {
    return reference::linear_backward_input(p);
  }
  const auto transposed = transpose(p.csr, p.values, 1);
  linear_panels(transposed.weight(), p, p.csr.cols, p.csr.rows, vector_kernels<T>(isa), parallel);
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
  sampled_dots(problem, kernels, parallel);
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
