// linear_nm and its backward ops on the CPU: the kernels of layout csr on the structure that is derived of the indices.
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include "ops/csr_checks.h"
#include "ops/linear_csr_cpu.h"
#include "ops/nm_signatures.h"
#include "ops/nm_structure.h"

namespace jouleprune::ops {
namespace {

int64_t rows_of(const char* op, const Tensor& indices) {
  TORCH_CHECK_VALUE(indices.dim() == 2, op, ": indices: expected [rows, kept], got ", indices.sizes());
  return indices.size(0);
}

/// The values in csr's order, which is theirs.
Tensor flat(const Tensor& values) { return values.reshape({values.numel()}); }

Tensor linear_nm_cpu(const Tensor& input, const Tensor& values, const Tensor& indices, const Tensor& key,
                     const OptionalTensor& prepacked, const OptionalTensor& bias, int64_t in_features, int64_t n, int64_t m,
                     std::string_view activation) {
  constexpr const char* op = "linear_nm";
  const auto shape = check_nm_shape(op, rows_of(op, indices), in_features, n, m);
  const auto csr = check_nm_weight(op, values, indices, &key, shape, input, "input");
  TORCH_CHECK_VALUE(!prepacked.has_value() || !prepacked->defined(), op, ": prepacked: expected None, for layout nm has no other order");
  return multiply_csr(op, input, flat(values), csr.col_indices, csr.row_offsets, csr.key, std::nullopt, bias, in_features, activation);
}

Tensor linear_nm_backward_input_cpu(const Tensor& grad_output, const Tensor& values, const Tensor& indices, const Tensor& key,
                                    int64_t in_features, int64_t n, int64_t m) {
  constexpr const char* op = "linear_nm_backward_input";
  const auto shape = check_nm_shape(op, rows_of(op, indices), in_features, n, m);
  const auto csr = check_nm_weight(op, values, indices, &key, shape, grad_output, "grad_output");
  return csr_gradient_of_input(op, grad_output, flat(values), csr.col_indices, csr.row_offsets, csr.key, in_features);
}

Tensor linear_nm_backward_values_cpu(const Tensor& grad_output, const Tensor& input, const Tensor& indices, const Tensor& key,
                                     int64_t in_features, int64_t n, int64_t m) {
  constexpr const char* op = "linear_nm_backward_values";
  const auto shape = check_nm_shape(op, rows_of(op, indices), in_features, n, m);
  const auto csr = check_nm_weight(op, Tensor(), indices, &key, shape, grad_output, "grad_output");
  return csr_gradient_of_values(op, grad_output, input, csr.col_indices, csr.row_offsets, csr.key, in_features)
      .view({shape.rows, shape.kept()});
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CPU, m) {
  m.impl("linear_nm", TORCH_FN(jouleprune::ops::linear_nm_cpu));
  m.impl("linear_nm_backward_input", TORCH_FN(jouleprune::ops::linear_nm_backward_input_cpu));
  m.impl("linear_nm_backward_values", TORCH_FN(jouleprune::ops::linear_nm_backward_values_cpu));
}
