// Packing of layout csr for CUDA tensors: on the CPU, or by torch's ops.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "ops/csr_checks.h"
#include "ops/csr_dense.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

std::tuple<Tensor, Tensor, Tensor, Tensor> pack_csr_by_cpu(const Tensor& weight, const OptionalTensor& mask) {
  static const auto op = find_op<PackCsr>("jouleprune::pack_csr");
  const auto host_mask = mask.has_value() && mask->defined() ? OptionalTensor(mask->cpu()) : std::nullopt;
  const auto [values, col_indices, row_offsets, key] = op.call(weight.detach().cpu(), host_mask);
  return {values.to(weight.device()), col_indices.to(weight.device()), row_offsets.to(weight.device()), key.to(weight.device())};
}

Tensor unpack_csr_dense(const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets, int64_t cols) {
  const at::NoGradGuard no_grad;
  return dense_of(check_weight_in_full("unpack_csr", values, col_indices, row_offsets, cols));
}

Tensor prepack_csr_dense(const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets, int64_t cols) {
  check_weight_in_full("prepack_csr", values, col_indices, row_offsets, cols);
  return at::empty({0}, col_indices.options());
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CUDA, m) {
  m.impl("pack_csr", TORCH_FN(jouleprune::ops::pack_csr_by_cpu));
  m.impl("unpack_csr", TORCH_FN(jouleprune::ops::unpack_csr_dense));
  m.impl("prepack_csr", TORCH_FN(jouleprune::ops::prepack_csr_dense));
}
