// pack_csr, unpack_csr, prepack_csr on CUDA. Packing waits for the device: it has to know how much is kept, and the key is mixed on the
// host.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <torch/library.h>

#include "ops/csr_checks.h"
#include "ops/csr_dense.h"
#include "ops/cuda_backend.h"
#include "ops/limits.h"
#include "ops/packable.h"
#include "ops/signatures.h"
#include "pack/pack.h"

namespace jouleprune::ops {
namespace {

namespace pack = cuda::pack;

std::tuple<Tensor, Tensor, Tensor, Tensor> pack_csr_cuda(const Tensor& weight, const OptionalTensor& mask) {
  const at::NoGradGuard no_grad;
  constexpr const char* op = "pack_csr";
  const CudaScope scope(weight);
  const auto [matrix, kept] = check_packable(op, weight, mask);
  const int64_t rows = matrix.size(0), cols = matrix.size(1);
  const auto numbers = matrix.options().dtype(at::kInt);
  auto counts = at::empty({rows}, numbers), row_offsets = at::empty({rows + 1}, numbers);
  auto total = at::empty({1}, numbers.dtype(at::kLong));
  scope.run(pack::CsrRowsParams{kept.const_data_ptr<bool>(), rows, cols, counts.mutable_data_ptr<int32_t>(),
                                row_offsets.mutable_data_ptr<int32_t>(), total.mutable_data_ptr<int64_t>()});
  const int64_t nnz = total.item<int64_t>();
  TORCH_CHECK_VALUE(nnz <= kLimit, op, ": weight: expected at most ", kLimit, " kept entries, got ", nnz);
  auto col_indices = at::empty({nnz}, numbers), values = at::empty({nnz}, matrix.options());
  scope.run(pack::CsrEntries{static_cast<int>(matrix.element_size()),
                             {kept.const_data_ptr<bool>(), matrix.const_data_ptr(), row_offsets.const_data_ptr<int32_t>(), rows, cols, nnz,
                              col_indices.mutable_data_ptr<int32_t>(), values.mutable_data_ptr()}});
  const auto host_columns = col_indices.cpu(), host_offsets = row_offsets.cpu();
  const auto key =
      formats::csr_key({rows, cols, nnz, host_columns.const_data_ptr<int32_t>(), host_offsets.const_data_ptr<int32_t>()});
  return {values, col_indices, row_offsets, at::tensor({key[0], key[1]}, at::kLong).to(weight.device())};
}

Tensor unpack_csr_cuda(const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets, int64_t cols) {
  const at::NoGradGuard no_grad;
  const CudaScope scope(values);
  return dense_of(check_weight_in_full("unpack_csr", values, col_indices, row_offsets, cols));
}

Tensor prepack_csr_cuda(const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets, int64_t cols) {
  const CudaScope scope(values);
  check_weight_in_full("prepack_csr", values, col_indices, row_offsets, cols);
  return at::empty({0}, col_indices.options());
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, JOULEPRUNE_CUDA_KEY, m) {
  m.impl("pack_csr", TORCH_FN(jouleprune::ops::pack_csr_cuda));
  m.impl("unpack_csr", TORCH_FN(jouleprune::ops::unpack_csr_cuda));
  m.impl("prepack_csr", TORCH_FN(jouleprune::ops::prepack_csr_cuda));
}
