// linear_bsr and its backward ops on CUDA.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <torch/library.h>

#include <string_view>

#include "ops/asked_kernel.h"
#include "ops/bsr_checks.h"
#include "ops/compressed_product.h"
#include "ops/csr_checks.h"
#include "ops/cuda_adapters.h"
#include "ops/cuda_backend.h"
#include "ops/cusparse_product.h"
#include "ops/device_index.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

namespace bsr = cuda::bsr;

/// JOULEPRUNE_CUDA_BSR: "sparse", "dense" or "cusparse"; unset: by prediction sparse or dense.
std::string_view asked_for() { return asked_kernel("JOULEPRUNE_CUDA_BSR", {"sparse", "dense", "cusparse"}); }

bool runs_dense(const BsrWeight& weight, const Tensor& rows, const CudaScope& scope) {
  const auto asked = asked_for();
  if (!asked.empty()) return asked == "dense";
  const auto& b = weight.bsr;
  const bool tensor_cores = rows.element_size() == 2 && bsr::fits_tensor_cores(b.r, b.c);
  return !cuda::csr::blocks_run_sparse(
      {cuda_element_type(rows.scalar_type()), b.rows, b.cols, b.blocks * b.r * b.c, rows.size(0)}, b.r, tensor_cores,
      scope.machine());
}

/// [rows, cols]
Tensor dense_weight(const BsrWeight& weight, const CudaScope& scope) {
  static const auto unpack = find_op<UnpackBsr>("jouleprune::unpack_bsr");
  return *kept_unless_fresh<Tensor>("bsr dense", {weight.block_columns, weight.block_row_offsets, weight.blocks},
                                    {weight.bsr.rows, weight.bsr.cols, weight.bsr.r, weight.bsr.c}, scope, [&] {
                                      return unpack.call(weight.blocks, weight.block_columns, weight.block_row_offsets,
                                                         weight.bsr.rows, weight.bsr.cols);
                                    });
}

/// By the library's kernel for blocks, which was asked for by name; without bias and activation.
Tensor cusparse_product(const char* op, const BsrWeight& weight, const Tensor& rows, const CudaScope& scope) {
  const auto& b = weight.bsr;
  TORCH_CHECK_VALUE(b.rows % b.r == 0 && b.cols % b.c == 0, op, ": JOULEPRUNE_CUDA_BSR=cusparse: expected blocks that divide the weight, got ",
                    b.r, " x ", b.c, " of [", b.rows, ", ", b.cols, "]");
  auto output = at::empty({rows.size(0), b.rows}, rows.options());
  const auto refused = run_cusparse(
      cuda::vendor::SparseProduct{
          {cuda_element_type(rows.scalar_type()), b.rows, b.cols, b.blocks, static_cast<int32_t>(b.r),
           static_cast<int32_t>(b.c), weight.block_row_offsets.const_data_ptr<int32_t>(),
           weight.block_columns.const_data_ptr<int32_t>(), weight.blocks.const_data_ptr()},
          rows.const_data_ptr(),
          rows.stride(0),
          rows.size(0),
          output.mutable_data_ptr()},
      rows, scope);
  TORCH_CHECK(refused.empty(), op, ": JOULEPRUNE_CUDA_BSR=cusparse: ", refused);
  return output;
}

Tensor linear_bsr_cuda(const Tensor& input, const Tensor& blocks, const Tensor& block_columns,
                       const Tensor& block_row_offsets, const Tensor& key, const OptionalTensor& prepacked,
                       const OptionalTensor& bias, int64_t out_features, int64_t in_features,
                       std::string_view activation) {
  constexpr const char* op = "linear_bsr";
  const auto act = parse_activation(op, activation);
  const auto rows = as_rows(op, "input", input, in_features);
  const CudaScope scope(input);
  auto weight = check_bsr_weight(op, {&blocks, {}, block_columns, block_row_offsets, &key, out_features, in_features},
                                 input, "input");
  weight.blocks = aligned(weight.blocks);
  check_prepacked(op, prepacked, "prepack_bsr");
  const auto checked_bias = check_bias(op, bias, out_features, input);
  auto output = at::empty(resized_last(input, out_features), input.options());
  const bool by_library = asked_for() == "cusparse";
  if (by_library || runs_dense(weight, rows, scope)) {
    const auto product = by_library ? cusparse_product(op, weight, rows, scope) : rows.matmul(dense_weight(weight, scope).t());
    return finish(act, (checked_bias.defined() ? product + checked_bias : product).view(output.sizes()), {});
  }
  const auto index = device_index(weight);
  auto turned = scratch_for(input, bsr::turned_elements(in_features, rows.size(0)));
  scope.run(bsr::Linear{launch_weight(weight, *index, input),
                        rows.const_data_ptr(),
                        rows.stride(0),
                        rows.size(0),
                        turned.mutable_data_ptr(),
                        output.mutable_data_ptr(),
                        {pointer_or_null(checked_bias), nullptr, cuda_activation(act)}});
  return output;
}

Tensor linear_bsr_backward_input_cuda(const Tensor& grad_output, const Tensor& blocks, const Tensor& block_columns,
                                      const Tensor& block_row_offsets, const Tensor& key, int64_t out_features,
                                      int64_t in_features) {
  constexpr const char* op = "linear_bsr_backward_input";
  const CudaScope scope(grad_output);
  const FreshValues fresh;
  auto weight = check_bsr_weight(op, {&blocks, {}, block_columns, block_row_offsets, &key, out_features, in_features},
                                 grad_output, "grad_output");
  weight.blocks = aligned(weight.blocks);
  const auto rows = as_rows(op, "grad_output", grad_output, out_features);
  auto grad_input = at::empty(resized_last(grad_output, in_features), grad_output.options());
  if (runs_dense(weight, rows, scope)) return rows.matmul(dense_weight(weight, scope)).view(grad_input.sizes());
  const auto index = device_index(weight);
  auto turned = scratch_for(grad_output, bsr::turned_elements(out_features, rows.size(0)));
  scope.run(bsr::LinearInput{launch_weight(weight, *index, grad_output), index->view(), rows.const_data_ptr(),
                             rows.stride(0), rows.size(0), turned.mutable_data_ptr(), grad_input.mutable_data_ptr()});
  return grad_input;
}

Tensor linear_bsr_backward_values_cuda(const Tensor& grad_output, const Tensor& input, const Tensor& block_columns,
                                       const Tensor& block_row_offsets, const Tensor& key, at::IntArrayRef block_size,
                                       int64_t out_features, int64_t in_features) {
  constexpr const char* op = "linear_bsr_backward_values";
  const CudaScope scope(grad_output);
  const auto weight =
      check_bsr_weight(op, {nullptr, block_size, block_columns, block_row_offsets, &key, out_features, in_features},
                       grad_output, "grad_output");
  const auto grads = as_rows(op, "grad_output", grad_output, out_features);
  const auto inputs = as_rows(op, "input", input, in_features);
  check_same_rows(op, grad_output, input, grads, inputs);
  auto grad_blocks = at::empty({weight.bsr.blocks, weight.bsr.r, weight.bsr.c}, grad_output.options());
  const auto index = device_index(weight);
  auto turned_grads = scratch_for(grad_output, bsr::turned_elements(out_features, grads.size(0)));
  auto turned_inputs = scratch_for(grad_output, bsr::turned_elements(in_features, grads.size(0)));
  scope.run(bsr::LinearBlocks{launch_weight(weight, *index, grad_output), grads.const_data_ptr(), grads.stride(0),
                              inputs.const_data_ptr(), inputs.stride(0), grads.size(0), turned_grads.mutable_data_ptr(),
                              turned_inputs.mutable_data_ptr(), grad_blocks.mutable_data_ptr()});
  return grad_blocks;
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, JOULEPRUNE_CUDA_KEY, m) {
  m.impl("linear_bsr", TORCH_FN(jouleprune::ops::linear_bsr_cuda));
  m.impl("linear_bsr_backward_input", TORCH_FN(jouleprune::ops::linear_bsr_backward_input_cuda));
  m.impl("linear_bsr_backward_values", TORCH_FN(jouleprune::ops::linear_bsr_backward_values_cuda));
}
