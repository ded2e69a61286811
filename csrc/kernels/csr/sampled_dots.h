// Gradient of the values: grad_output [rows, n] x activations [cols, n] transposed, at the kept entries only (SDDMM).
#pragma once
#include "kernels/csr/panels.h"

namespace jouleprune::kernels::csr {

template <class T>
struct SampledProblem {
  const int32_t* col_indices = nullptr;
  const int32_t* row_offsets = nullptr;
  int64_t row_begin = 0, row_end = 0;
  int64_t cols = 0, n = 0;
  /// As PanelProblem::fill; fill_rows counts rows of the weight from row_begin.
  std::function<void(const Panel& panel, int64_t begin, int64_t end, Accumulate<T>* to)> fill_rows, fill_cols;
  T* grad_values = nullptr;  ///< [nnz]; entries of the rows are written
};

template <class T>
void sampled_dots(const SampledProblem<T>& problem, Isa isa, const ParallelFor& parallel);

}  // namespace jouleprune::kernels::csr
