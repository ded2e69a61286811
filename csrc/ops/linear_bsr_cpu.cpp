// linear_bsr and its backward ops on the CPU.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "kernels/bsr/bsr_kernels.h"
#include "ops/bsr_checks.h"
#include "ops/csr_checks.h"
#include "ops/parallel.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

namespace bsr = kernels::bsr;

Tensor linear_bsr_cpu(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                      const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias, int64_t out_features,
                      int64_t in_features, std::string_view activation) {
  constexpr const char* op = "linear_bsr";
  const auto act = parse_activation(op, activation);
  const auto isa = active_isa();
  const auto rows = as_rows(op, "input", input, in_features);
  const auto weight = check_bsr_weight(
      op, {&blocks, {}, block_columns, block_row_offsets, &key, out_features, in_features, forward_compare(isa)}, input, "input");
  check_prepacked(op, prepacked, "prepack_bsr");
  const auto checked_bias = check_bias(op, bias, out_features, input);
  auto output = at::empty(resized_last(input, out_features), input.options());
  auto forms = weight.forms();
  with_element_type(input.scalar_type(), [&](auto element) {
    using T = decltype(element);
    bsr::linear(bsr::LinearParams<T>{weight.bsr, data_of<T>(weight.blocks), data_of<T>(checked_bias), act,
                                     rows.size(0), data_of<T>(rows), rows.stride(0), mutable_data_of<T>(output), &forms},
                torch_threads(), isa);
  });
  return output;
}

Tensor linear_bsr_backward_input_cpu(const Tensor& grad_output, const Tensor& blocks, const Tensor& block_columns,
                                     const Tensor& block_row_offsets, const Tensor& key, int64_t out_features,
                                     int64_t in_features) {
  constexpr const char* op = "linear_bsr_backward_input";
  const auto weight = check_bsr_weight(
      op, {&blocks, {}, block_columns, block_row_offsets, &key, out_features, in_features, Compare::kWhole}, grad_output,
      "grad_output");
  const auto rows = as_rows(op, "grad_output", grad_output, out_features);
  auto grad_input = at::empty(resized_last(grad_output, in_features), grad_output.options());
  auto forms = weight.forms();
  with_element_type(grad_output.scalar_type(), [&](auto element) {
    using T = decltype(element);
    bsr::linear_backward_input(bsr::LinearParams<T>{weight.bsr, data_of<T>(weight.blocks), nullptr, Activation::kNone, rows.size(0),
                                                    data_of<T>(rows), rows.stride(0), mutable_data_of<T>(grad_input), &forms},
                               torch_threads(), active_isa());
  });
  return grad_input;
}

Tensor linear_bsr_backward_values_cpu(const Tensor& grad_output, const Tensor& input, const Tensor& block_columns,
                                      const Tensor& block_row_offsets, const Tensor& key, at::IntArrayRef block_size,
                                      int64_t out_features, int64_t in_features) {
  constexpr const char* op = "linear_bsr_backward_values";
  const auto weight = check_bsr_weight(
      op, {nullptr, block_size, block_columns, block_row_offsets, &key, out_features, in_features, Compare::kWhole}, grad_output,
      "grad_output");
  const auto grads = as_rows(op, "grad_output", grad_output, out_features);
  const auto inputs = as_rows(op, "input", input, in_features);
  check_same_rows(op, grad_output, input, grads, inputs);
  auto grad_blocks = at::empty({weight.bsr.blocks, weight.bsr.r, weight.bsr.c}, grad_output.options());
  with_element_type(grad_output.scalar_type(), [&](auto element) {
    using T = decltype(element);
    bsr::linear_backward_blocks(
        bsr::LinearBlocksParams<T>{weight.bsr, grads.size(0), data_of<T>(grads), grads.stride(0), data_of<T>(inputs),
                                   inputs.stride(0), mutable_data_of<T>(grad_blocks)},
        torch_threads(), active_isa());
  });
  return grad_blocks;
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CPU, m) {
  m.impl("linear_bsr", TORCH_FN(jouleprune::ops::linear_bsr_cpu));
  m.impl("linear_bsr_backward_input", TORCH_FN(jouleprune::ops::linear_bsr_backward_input_cpu));
  m.impl("linear_bsr_backward_values", TORCH_FN(jouleprune::ops::linear_bsr_backward_values_cpu));
}
