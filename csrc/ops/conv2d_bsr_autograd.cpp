// Derivatives of conv2d_bsr; see linear_bsr_autograd.cpp.
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

Tensor conv2d_below(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                    const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias, c10::SymInt out_channels,
                    c10::SymInt in_channels, Sizes kernel_size, Sizes stride, Sizes padding, Sizes dilation, int64_t groups,
                    std::string_view activation, const OptionalTensor& residual) {
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<Conv2dBsr>("jouleprune::conv2d_bsr");
  return op.call(input, blocks, block_columns, block_row_offsets, key, prepacked, bias, std::move(out_channels),
                 std::move(in_channels), kernel_size, stride, padding, dilation, groups, activation, residual);
}

struct Conv2dBsrFunction : torch::autograd::Function<Conv2dBsrFunction> {
  static constexpr bool is_traceable = true;
  // Places of the tensors among the inputs that may have gradients: bias comes last, for it counts only when present.
  enum Input : size_t { kInput, kBlocks, kBlockColumns, kBlockRowOffsets, kKey, kBias };

  static Tensor forward(AutogradContext* context, const Tensor& input, const Tensor& blocks, const Tensor& block_columns,
                        const Tensor& block_row_offsets, const Tensor& key, const OptionalTensor& bias, c10::SymInt out_channels,
                        c10::SymInt in_channels, Sizes kernel_size, Sizes stride, Sizes padding, Sizes dilation, int64_t groups) {
    context->set_materialize_grads(false);
    context->save_for_backward({blocks.requires_grad() ? input : Tensor(), input.requires_grad() ? blocks : Tensor(), block_columns,
                                block_row_offsets, key});
    SavedConv{input.sym_sizes().vec(), kernel_size.vec(), stride.vec(), padding.vec(), dilation.vec(), groups}.save(*context);
    context->saved_data["r"] = blocks.sym_size(1);
    context->saved_data["c"] = blocks.sym_size(2);
    context->saved_data["has_bias"] = bias.has_value() && bias->defined();
    const FreshValues fresh;
    return conv2d_below(input, blocks, block_columns, block_row_offsets, key, std::nullopt, bias, std::move(out_channels),
                        std::move(in_channels), kernel_size, stride, padding, dilation, groups, "none", std::nullopt);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    variable_list result(13);
    const auto& grad_output = grads[0];
    if (!grad_output.defined()) {
      return result;
    }
    const auto saved = context->get_saved_variables();
    const Tensor &input = saved[0], &blocks = saved[1], &block_columns = saved[2], &block_row_offsets = saved[3], &key = saved[4];
    const auto conv = SavedConv::of(*context);
    if (context->needs_input_grad(kInput) && blocks.defined()) {
      static const auto op = find_op<Conv2dBsrBackwardInput>("jouleprune::conv2d_bsr_backward_input");
      result[0] = op.call(grad_output, blocks, block_columns, block_row_offsets, key, conv.input_size, conv.kernel_size, conv.stride,
                          conv.padding, conv.dilation, conv.groups);
    }
    if (context->needs_input_grad(kBlocks) && input.defined()) {
      static const auto op = find_op<Conv2dBsrBackwardValues>("jouleprune::conv2d_bsr_backward_values");
      const c10::SymInt block_size[] = {context->saved_data["r"].toSymInt(), context->saved_data["c"].toSymInt()};
      result[1] = op.call(grad_output, input, block_columns, block_row_offsets, key, block_size, conv.kernel_size, conv.stride,
                          conv.padding, conv.dilation, conv.groups);
    }
    if (context->saved_data["has_bias"].toBool() && context->needs_input_grad(kBias)) {
      result[5] = grad_output.sum({0, 2, 3});
    }
    return result;
  }
};

Tensor conv2d_bsr_autograd(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                           const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias,
                           c10::SymInt out_channels, c10::SymInt in_channels, Sizes kernel_size, Sizes stride, Sizes padding,
                           Sizes dilation, int64_t groups, std::string_view activation, const OptionalTensor& residual) {
  const auto added = value_or_undefined(residual);
  refuse_forward_mode("conv2d_bsr", input, blocks, value_or_undefined(bias), added);
  if (!needs_grad(input, blocks, value_or_undefined(bias), added) || blocks.dim() != 3) {  // other shapes are the kernel's to refuse
    return conv2d_below(input, blocks, block_columns, block_row_offsets, key, prepacked, bias, std::move(out_channels),
                        std::move(in_channels), kernel_size, stride, padding, dilation, groups, activation, residual);
  }
  const auto act = parse_activation("conv2d_bsr", activation);
  const auto product = Conv2dBsrFunction::apply(input, blocks, block_columns, block_row_offsets, key, bias, std::move(out_channels),
                                                std::move(in_channels), kernel_size, stride, padding, dilation, groups);
  return finish(act, product, check_residual("conv2d_bsr", residual, product, input));
}

Tensor backward_input_autograd(const Tensor& grad_output, const Tensor& blocks, const Tensor& block_columns,
                               const Tensor& block_row_offsets, const Tensor& key, c10::SymIntArrayRef input_size, Sizes kernel_size,
                               Sizes stride, Sizes padding, Sizes dilation, int64_t groups) {
  refuse_second_derivative("conv2d_bsr_backward_input", "bsr", grad_output, blocks);
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<Conv2dBsrBackwardInput>("jouleprune::conv2d_bsr_backward_input");
  return op.call(grad_output, blocks, block_columns, block_row_offsets, key, input_size, kernel_size, stride, padding, dilation,
                 groups);
}

Tensor backward_values_autograd(const Tensor& grad_output, const Tensor& input, const Tensor& block_columns,
                                const Tensor& block_row_offsets, const Tensor& key, c10::SymIntArrayRef block_size, Sizes kernel_size,
                                Sizes stride, Sizes padding, Sizes dilation, int64_t groups) {
  refuse_second_derivative("conv2d_bsr_backward_values", "bsr", grad_output, input);
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<Conv2dBsrBackwardValues>("jouleprune::conv2d_bsr_backward_values");
  return op.call(grad_output, input, block_columns, block_row_offsets, key, block_size, kernel_size, stride, padding, dilation,
                 groups);
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, Autograd, m) {
  m.impl("conv2d_bsr", TORCH_FN(jouleprune::ops::conv2d_bsr_autograd));
  m.impl("conv2d_bsr_backward_input", TORCH_FN(jouleprune::ops::backward_input_autograd));
  m.impl("conv2d_bsr_backward_values", TORCH_FN(jouleprune::ops::backward_values_autograd));
}
