// Derivatives of conv2d_csr; see linear_csr_autograd.cpp.
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "ops/conv_autograd.h"
#include "ops/csr_autograd.h"
#include "ops/csr_checks.h"
#include "ops/packed_forms.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Sizes = at::IntArrayRef;

Tensor conv2d_below(const Tensor& input, const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets,
                    const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias, c10::SymInt in_channels,
                    Sizes kernel_size, Sizes stride, Sizes padding, Sizes dilation, int64_t groups, std::string_view activation,
                    const OptionalTensor& residual) {
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<Conv2dCsr>("jouleprune::conv2d_csr");
  return op.call(input, values, col_indices, row_offsets, key, prepacked, bias, std::move(in_channels), kernel_size, stride,
                 padding, dilation, groups, activation, residual);
}

struct Conv2dCsrFunction : torch::autograd::Function<Conv2dCsrFunction> {
  static constexpr bool is_traceable = true;
  // Places of the tensors among the inputs that may have gradients: bias comes last, for it counts only when present.
  enum Input : size_t { kInput, kValues, kColIndices, kRowOffsets, kKey, kBias };

  static Tensor forward(AutogradContext* context, const Tensor& input, const Tensor& values, const Tensor& col_indices,
                        const Tensor& row_offsets, const Tensor& key, const OptionalTensor& bias, c10::SymInt in_channels,
                        Sizes kernel_size, Sizes stride, Sizes padding, Sizes dilation, int64_t groups) {
    context->set_materialize_grads(false);
    context->save_for_backward({values.requires_grad() ? input : Tensor(), input.requires_grad() ? values : Tensor(), col_indices,
                                row_offsets, key});
    SavedConv{input.sym_sizes().vec(), kernel_size.vec(), stride.vec(), padding.vec(), dilation.vec(), groups}.save(*context);
    context->saved_data["has_bias"] = bias.has_value() && bias->defined();
    const FreshValues fresh;
    return conv2d_below(input, values, col_indices, row_offsets, key, std::nullopt, bias, std::move(in_channels), kernel_size,
                        stride, padding, dilation, groups, "none", std::nullopt);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    variable_list result(12);
    const auto& grad_output = grads[0];
    if (!grad_output.defined()) {
      return result;
    }
    const auto saved = context->get_saved_variables();
    const Tensor &input = saved[0], &values = saved[1], &col_indices = saved[2], &row_offsets = saved[3], &key = saved[4];
    const auto conv = SavedConv::of(*context);
    if (context->needs_input_grad(kInput) && values.defined()) {
      static const auto op = find_op<Conv2dCsrBackwardInput>("jouleprune::conv2d_csr_backward_input");
      result[0] = op.call(grad_output, values, col_indices, row_offsets, key, conv.input_size, conv.kernel_size, conv.stride,
                          conv.padding, conv.dilation, conv.groups);
    }
    if (context->needs_input_grad(kValues) && input.defined()) {
      static const auto op = find_op<Conv2dCsrBackwardValues>("jouleprune::conv2d_csr_backward_values");
      result[1] = op.call(grad_output, input, col_indices, row_offsets, key, conv.kernel_size, conv.stride, conv.padding,
                          conv.dilation, conv.groups);
    }
    if (context->saved_data["has_bias"].toBool() && context->needs_input_grad(kBias)) {
      result[5] = grad_output.sum({0, 2, 3});
    }
    return result;
  }
};

Tensor conv2d_csr_autograd(const Tensor& input, const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets,
                           const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias,
                           c10::SymInt in_channels, Sizes kernel_size, Sizes stride, Sizes padding, Sizes dilation,
                           int64_t groups, std::string_view activation, const OptionalTensor& residual) {
  const auto added = value_or_undefined(residual);
  refuse_forward_mode("conv2d_csr", input, values, value_or_undefined(bias), added);
  if (!needs_grad(input, values, value_or_undefined(bias), added)) {
    return conv2d_below(input, values, col_indices, row_offsets, key, prepacked, bias, std::move(in_channels), kernel_size, stride,
                        padding, dilation, groups, activation, residual);
  }
  const auto act = parse_activation("conv2d_csr", activation);
  const auto product = Conv2dCsrFunction::apply(input, values, col_indices, row_offsets, key, bias, std::move(in_channels),
                                                kernel_size, stride, padding, dilation, groups);
  return finish(act, product, check_residual("conv2d_csr", residual, product, input));
}

Tensor backward_input_autograd(const Tensor& grad_output, const Tensor& values, const Tensor& col_indices,
                               const Tensor& row_offsets, const Tensor& key, c10::SymIntArrayRef input_size, Sizes kernel_size,
                               Sizes stride, Sizes padding, Sizes dilation, int64_t groups) {
  refuse_double_backward("conv2d_csr_backward_input", grad_output, values);
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<Conv2dCsrBackwardInput>("jouleprune::conv2d_csr_backward_input");
  return op.call(grad_output, values, col_indices, row_offsets, key, input_size, kernel_size, stride, padding, dilation, groups);
}

Tensor backward_values_autograd(const Tensor& grad_output, const Tensor& input, const Tensor& col_indices,
                                const Tensor& row_offsets, const Tensor& key, Sizes kernel_size, Sizes stride, Sizes padding,
                                Sizes dilation, int64_t groups) {
  refuse_double_backward("conv2d_csr_backward_values", grad_output, input);
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<Conv2dCsrBackwardValues>("jouleprune::conv2d_csr_backward_values");
  return op.call(grad_output, input, col_indices, row_offsets, key, kernel_size, stride, padding, dilation, groups);
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, Autograd, m) {
  m.impl("conv2d_csr", TORCH_FN(jouleprune::ops::conv2d_csr_autograd));
  m.impl("conv2d_csr_backward_input", TORCH_FN(jouleprune::ops::backward_input_autograd));
  m.impl("conv2d_csr_backward_values", TORCH_FN(jouleprune::ops::backward_values_autograd));
}
