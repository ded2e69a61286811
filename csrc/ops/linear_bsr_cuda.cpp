// linear_bsr and its backward ops on CUDA.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "ops/bsr_checks.h"
#include "ops/csr_checks.h"
#include "ops/cuda_adapters.h"
#include "ops/cuda_backend.h"
#include "ops/device_index.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

namespace bsr = cuda::bsr;

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
  auto weight = check_bsr_weight(op, {&blocks, {}, block_columns, block_row_offsets, &key, out_features, in_features},
                                 grad_output, "grad_output");
  weight.blocks = aligned(weight.blocks);
  const auto rows = as_rows(op, "grad_output", grad_output, out_features);
  auto grad_input = at::empty(resized_last(grad_output, in_features), grad_output.options());
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
