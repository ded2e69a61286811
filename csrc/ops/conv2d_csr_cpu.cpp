// conv2d_csr and its backward ops on the CPU.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <array>

#include "ops/csr_checks.h"
#include "ops/parallel.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

namespace csr = kernels::csr;
using Sizes = at::IntArrayRef;

/// Columns of the weight; refuses what would overflow (kernel sizes are not yet checked).
int64_t weight_cols(const char* op, int64_t in_channels, Sizes kernel_size, int64_t groups) {
  TORCH_CHECK_VALUE(groups >= 1, op, ": groups: expected a positive number, got ", groups);
  TORCH_CHECK_VALUE(kernel_size.size() == 2 && kernel_size[0] >= 1 && kernel_size[1] >= 1 && kernel_size[0] < (1 << 15) &&
                        kernel_size[1] < (1 << 15),
                    op, ": kernel_size: expected two numbers from 1 to 32767, got ", kernel_size);
  TORCH_CHECK_VALUE(in_channels >= 0 && in_channels < (int64_t{1} << 31), op, ": in_channels: expected 0 to 2147483647, got ",
                    in_channels);
  return in_channels / groups * kernel_size[0] * kernel_size[1];
}

void check_dense(const char* op, const char* name, const Tensor& tensor) {
  check_element_type(op, name, tensor);
  TORCH_CHECK_VALUE(tensor.dim() == 4, op, ": ", name, ": expected 4 dimensions, got ", tensor.sizes());
}

void check_grad_output(const char* op, const Tensor& grad_output, const csr::ConvShape& shape) {
  const std::array<int64_t, 4> expected = {shape.batch, shape.out_channels, shape.out_height(), shape.out_width()};
  TORCH_CHECK_VALUE(grad_output.sizes() == Sizes(expected), op, ": grad_output: expected ", Sizes(expected), ", got ",
                    grad_output.sizes());
}

Tensor conv2d_csr_cpu(const Tensor& input, const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets,
                      const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias, int64_t in_channels,
                      Sizes kernel_size, Sizes stride, Sizes padding, Sizes dilation, int64_t groups,
                      std::string_view activation) {
  constexpr const char* op = "conv2d_csr";
  const auto act = parse_activation(op, activation);
  check_dense(op, "input", input);
  TORCH_CHECK_VALUE(input.size(1) == in_channels, op, ": input: expected [n, in_channels = ", in_channels, ", h, w], got ",
                    input.sizes());
  const auto weight = check_weight(op, &values, col_indices, row_offsets, key,
                                   weight_cols(op, in_channels, kernel_size, groups), input, "input");
  const auto shape = check_conv(op, input.sizes(), weight.csr.rows, kernel_size, stride, padding, dilation, groups);
  check_prepacked(op, prepacked);
  const auto checked_bias = check_bias(op, bias, weight.csr.rows, input);
  const auto format = input.suggest_memory_format() == at::MemoryFormat::ChannelsLast ? at::MemoryFormat::ChannelsLast
                                                                                      : at::MemoryFormat::Contiguous;
  const auto planes = input.contiguous();
  auto output = at::empty({shape.batch, shape.out_channels, shape.out_height(), shape.out_width()}, input.options(), format);
  with_element_type(input.scalar_type(), [&](auto element) {
    using T = decltype(element);
    csr::conv2d(csr::ConvParams<T>{weight.csr, data_of<T>(weight.values), data_of<T>(checked_bias), act == Activation::kRelu,
                                   shape, data_of<T>(planes), mutable_data_of<T>(output),
                                   format == at::MemoryFormat::ChannelsLast},
                torch_threads(), active_isa());
  });
  return act == Activation::kRelu ? output : activate(act, output);
}

Tensor conv2d_csr_backward_input_cpu(const Tensor& grad_output, const Tensor& values, const Tensor& col_indices,
                                     const Tensor& row_offsets, const Tensor& key, Sizes input_size, Sizes kernel_size,
                                     Sizes stride, Sizes padding, Sizes dilation, int64_t groups) {
  constexpr const char* op = "conv2d_csr_backward_input";
  check_dense(op, "grad_output", grad_output);
  TORCH_CHECK_VALUE(input_size.size() == 4, op, ": input_size: expected [n, in_channels, h, w], got ", input_size);
  const auto weight = check_weight(op, &values, col_indices, row_offsets, key,
                                   weight_cols(op, input_size[1], kernel_size, groups), grad_output, "grad_output");
  const auto shape = check_conv(op, input_size, weight.csr.rows, kernel_size, stride, padding, dilation, groups);
  check_grad_output(op, grad_output, shape);
  const auto planes = grad_output.contiguous();
  auto grad_input = at::empty(input_size, grad_output.options());
  with_element_type(grad_output.scalar_type(), [&](auto element) {
    using T = decltype(element);
    csr::conv2d_backward_input(csr::ConvParams<T>{weight.csr, data_of<T>(weight.values), nullptr, false, shape,
                                                  data_of<T>(planes), mutable_data_of<T>(grad_input), false},
                               torch_threads(), active_isa());
  });
  return grad_input;
}

Tensor conv2d_csr_backward_values_cpu(const Tensor& grad_output, const Tensor& input, const Tensor& col_indices,
                                      const Tensor& row_offsets, const Tensor& key, Sizes kernel_size, Sizes stride,
                                      Sizes padding, Sizes dilation, int64_t groups) {
  constexpr const char* op = "conv2d_csr_backward_values";
  check_dense(op, "grad_output", grad_output);
  check_dense(op, "input", input);
  TORCH_CHECK_TYPE(input.scalar_type() == grad_output.scalar_type(), op, ": input: expected the dtype of grad_output, ",
                   grad_output.scalar_type(), ", got ", input.scalar_type());
  TORCH_CHECK_VALUE(input.device() == grad_output.device(), op, ": input: expected the device of grad_output, ",
                    grad_output.device(), ", got ", input.device());
  const auto weight = check_weight(op, nullptr, col_indices, row_offsets, key,
                                   weight_cols(op, input.size(1), kernel_size, groups), grad_output, "grad_output");
  const auto shape = check_conv(op, input.sizes(), weight.csr.rows, kernel_size, stride, padding, dilation, groups);
  check_grad_output(op, grad_output, shape);
  const auto grads = grad_output.contiguous(), planes = input.contiguous();
  auto grad_values = at::empty({weight.csr.nnz}, grad_output.options());
  with_element_type(grad_output.scalar_type(), [&](auto element) {
    using T = decltype(element);
    csr::conv2d_backward_values(csr::ConvValuesParams<T>{weight.csr, shape, data_of<T>(grads), data_of<T>(planes),
                                                         mutable_data_of<T>(grad_values)},
                                torch_threads(), active_isa());
  });
  return grad_values;
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CPU, m) {
  m.impl("conv2d_csr", TORCH_FN(jouleprune::ops::conv2d_csr_cpu));
  m.impl("conv2d_csr_backward_input", TORCH_FN(jouleprune::ops::conv2d_csr_backward_input_cpu));
  m.impl("conv2d_csr_backward_values", TORCH_FN(jouleprune::ops::conv2d_csr_backward_values_cpu));
}
