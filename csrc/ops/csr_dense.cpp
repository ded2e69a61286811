#include "ops/csr_dense.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/repeat_interleave.h>
#include <ATen/ops/zeros.h>

#include <optional>

namespace jouleprune::ops {

at::Tensor places_of(const CsrWeight& weight) {
  const auto counts = weight.row_offsets.slice(0, 1) - weight.row_offsets.slice(0, 0, -1);
  const auto rows = at::repeat_interleave(counts, std::make_optional(weight.csr.nnz));
  return rows.to(at::kLong) * weight.csr.cols + weight.col_indices;
}

at::Tensor dense_of(const CsrWeight& weight) {
  auto dense = at::zeros({weight.csr.rows * weight.csr.cols}, weight.values.options());
  return dense.index_copy_(0, places_of(weight), weight.values).view({weight.csr.rows, weight.csr.cols});
}

}  // namespace jouleprune::ops
