// linear_csr on CUDA.
#include "linear_csr.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include "ops/csr_checks.h"
#include "ops/cuda_adapters.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

Tensor linear_csr_cuda(const Tensor& input, const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets,
                       const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias, int64_t in_features,
                       std::string_view activation, const OptionalTensor& residual) {
  constexpr const char* op = "linear_csr";
  const auto act = parse_activation(op, activation);
  const auto rows = as_rows(op, "input", input, in_features);
  const c10::cuda::CUDAGuard guard(input.device());
  const auto weight = check_weight(op, &values, col_indices, row_offsets, key, in_features, input, "input");
  check_prepacked(op, prepacked);
  const auto checked_bias = check_bias(op, bias, weight.csr.rows, input);
  auto output = at::empty(resized_last(input, weight.csr.rows), input.options());
  const auto added = check_residual(op, residual, output, input);
  const bool fused = act == Activation::kRelu && !added.defined();
  const cuda::LinearCsrParams params{cuda_element_type(input.scalar_type()), weight.values.const_data_ptr(), weight.csr.col_indices,
                                     weight.csr.row_offsets, pointer_or_null(checked_bias),
                                     fused, rows.const_data_ptr(), rows.stride(0), output.mutable_data_ptr(),
                                     rows.size(0), weight.csr.rows};
  C10_CUDA_CHECK(cuda::linear_csr(params, c10::cuda::getCurrentCUDAStream().stream()));
  return fused ? output : finish(act, output, added);
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CUDA, m) { m.impl("linear_csr", TORCH_FN(jouleprune::ops::linear_csr_cuda)); }
