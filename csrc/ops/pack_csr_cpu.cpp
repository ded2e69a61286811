// pack_csr, unpack_csr, prepack_csr on the CPU.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/masked_select.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>


#include "formats/csr_pack.h"
#include "ops/csr_checks.h"
#include "ops/limits.h"
#include "ops/packable.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {


std::tuple<Tensor, Tensor, Tensor, Tensor> pack_csr_cpu(const Tensor& weight, const OptionalTensor& mask) {
  const at::NoGradGuard no_grad;
  constexpr const char* op = "pack_csr";
  const auto [matrix, kept] = check_packable(op, weight, mask);
  const int64_t rows = matrix.size(0), cols = matrix.size(1);
  const bool* kept_data = kept.const_data_ptr<bool>();
  auto row_offsets = at::empty({rows + 1}, matrix.options().dtype(at::kInt));
  const int64_t nnz = formats::csr_offsets(kept_data, rows, cols, row_offsets.mutable_data_ptr<int32_t>());
  TORCH_CHECK_VALUE(nnz <= kLimit, op, ": weight: expected at most ", kLimit, " kept entries, got ", nnz);
  auto col_indices = at::empty({nnz}, matrix.options().dtype(at::kInt));
  formats::csr_columns(kept_data, rows, cols, col_indices.mutable_data_ptr<int32_t>());
  const auto key = formats::csr_key({rows, cols, nnz, col_indices.const_data_ptr<int32_t>(), row_offsets.const_data_ptr<int32_t>()});
  return {at::masked_select(matrix, kept), col_indices, row_offsets, at::tensor({key[0], key[1]}, at::kLong)};
}

Tensor unpack_csr_cpu(const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets, int64_t cols) {
  const at::NoGradGuard no_grad;
  const auto weight = check_weight_in_full("unpack_csr", values, col_indices, row_offsets, cols);
  auto dense = at::zeros({weight.csr.rows, cols}, values.options());
  with_element_type(values.scalar_type(), [&](auto element) {
    using T = decltype(element);
    formats::csr_scatter(weight.csr, data_of<T>(weight.values), mutable_data_of<T>(dense));
  });
  return dense;
}

Tensor prepack_csr_cpu(const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets, int64_t cols) {
  check_weight_in_full("prepack_csr", values, col_indices, row_offsets, cols);
  return at::empty({0}, col_indices.options());
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CPU, m) {
  m.impl("pack_csr", TORCH_FN(jouleprune::ops::pack_csr_cpu));
  m.impl("unpack_csr", TORCH_FN(jouleprune::ops::unpack_csr_cpu));
  m.impl("prepack_csr", TORCH_FN(jouleprune::ops::prepack_csr_cpu));
}
