// conv2d_csr and its backward ops on the CPU.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <utility>

#include "ops/csr_checks.h"
#include "ops/parallel.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

namespace csr = kernels::csr;
using Sizes = at::IntArrayRef;

Tensor conv2d_csr_cpu(const Tensor& input, const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets,
                      const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias, int64_t in_channels,
                      Sizes kernel_size, Sizes stride, Sizes padding, Sizes dilation, int64_t groups,
                      std::string_view activation, const OptionalTensor& residual) {
  constexpr const char* op = "conv2d_csr";
  const auto act = parse_activation(op, activation);
  const auto isa = active_isa();
  const auto cols = check_conv_input(op, input, in_channels, kernel_size, groups);
  const auto compare = input.scalar_type() == at::kDouble ? Compare::kWhole : forward_compare(isa);  // doubles have no forms
  const auto weight = check_weight(op, &values, col_indices, row_offsets, key, cols, input, "input", compare);
  const auto shape = check_conv(op, input.sizes(), weight.csr.rows, kernel_size, stride, padding, dilation, groups);
  check_prepacked(op, prepacked);
  const auto checked_bias = check_bias(op, bias, weight.csr.rows, input);
  const auto format = input.suggest_memory_format() == at::MemoryFormat::ChannelsLast ? at::MemoryFormat::ChannelsLast
                                                                                      : at::MemoryFormat::Contiguous;
  const auto dense = input.contiguous(format);
  const bool channels_last = format == at::MemoryFormat::ChannelsLast;
  auto output = at::empty({shape.batch, shape.out_channels, shape.out_height(), shape.out_width()}, input.options(), format);
  auto added = check_residual(op, residual, output, input);
  if (added.defined()) added = added.contiguous(format);
  auto forms = weight.forms();
  with_element_type(input.scalar_type(), [&](auto element) {
    using T = decltype(element);
    csr::ConvParams<T> params{weight.csr, data_of<T>(weight.values), data_of<T>(checked_bias), act, shape, data_of<T>(dense),
                              mutable_data_of<T>(output), channels_last, &forms, channels_last};
    if (added.defined()) {
      params.residual = {data_of<T>(added), std::exchange(params.activation, Activation::kNone)};
    }
    csr::conv2d(params, torch_threads(), isa);
  });
  return output;
}

Tensor conv2d_csr_backward_input_cpu(const Tensor& grad_output, const Tensor& values, const Tensor& col_indices,
                                     const Tensor& row_offsets, const Tensor& key, Sizes input_size, Sizes kernel_size,
                                     Sizes stride, Sizes padding, Sizes dilation, int64_t groups) {
  constexpr const char* op = "conv2d_csr_backward_input";
  const auto cols = check_conv_grad(op, grad_output, input_size, kernel_size, groups);
  const auto weight = check_weight(op, &values, col_indices, row_offsets, key, cols, grad_output, "grad_output", Compare::kWhole);
  const auto shape = check_conv(op, input_size, weight.csr.rows, kernel_size, stride, padding, dilation, groups);
  check_grad_output(op, grad_output, shape);
  const auto planes = grad_output.contiguous();
  auto grad_input = at::empty(input_size, grad_output.options());
  const FreshValues fresh;
  auto forms = weight.forms();
  with_element_type(grad_output.scalar_type(), [&](auto element) {
    using T = decltype(element);
    csr::conv2d_backward_input(csr::ConvParams<T>{weight.csr, data_of<T>(weight.values), nullptr, Activation::kNone, shape,
                                                  data_of<T>(planes), mutable_data_of<T>(grad_input), false, &forms},
                               torch_threads(), active_isa());
  });
  return grad_input;
}

Tensor conv2d_csr_backward_values_cpu(const Tensor& grad_output, const Tensor& input, const Tensor& col_indices,
                                      const Tensor& row_offsets, const Tensor& key, Sizes kernel_size, Sizes stride,
                                      Sizes padding, Sizes dilation, int64_t groups) {
  constexpr const char* op = "conv2d_csr_backward_values";
  const auto cols = check_conv_grad(op, grad_output, input.sizes(), kernel_size, groups);
  check_alike(op, grad_output, input);
  const auto weight = check_weight(op, nullptr, col_indices, row_offsets, key, cols, grad_output, "grad_output", Compare::kWhole);
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
