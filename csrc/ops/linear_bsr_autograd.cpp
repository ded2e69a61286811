// Derivatives of linear_bsr, in C++ so that programs without Python train too. Backward calls registered ops only, so that it can
// be traced.
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "ops/csr_autograd.h"
#include "ops/csr_checks.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Tensor linear_below(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                    const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias, c10::SymInt out_features,
                    c10::SymInt in_features, std::string_view activation) {
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<LinearBsr>("jouleprune::linear_bsr");
  return op.call(input, blocks, block_columns, block_row_offsets, key, prepacked, bias, std::move(out_features),
                 std::move(in_features), activation);
}

struct LinearBsrFunction : torch::autograd::Function<LinearBsrFunction> {
  static constexpr bool is_traceable = true;
  // Places of the tensors among the inputs that may have gradients: bias comes last, for it counts only when present.
  enum Input : size_t { kInput, kBlocks, kBlockColumns, kBlockRowOffsets, kKey, kBias };

  static Tensor forward(AutogradContext* context, const Tensor& input, const Tensor& blocks, const Tensor& block_columns,
                        const Tensor& block_row_offsets, const Tensor& key, const OptionalTensor& bias, c10::SymInt out_features,
                        c10::SymInt in_features) {
    context->set_materialize_grads(false);
    // The input is only needed for the gradient of the blocks, and the other way round.
    context->save_for_backward({blocks.requires_grad() ? input : Tensor(), input.requires_grad() ? blocks : Tensor(), block_columns,
                                block_row_offsets, key});
    context->saved_data["r"] = blocks.sym_size(1);
    context->saved_data["c"] = blocks.sym_size(2);
    context->saved_data["out_features"] = out_features;
    context->saved_data["in_features"] = in_features;
    context->saved_data["has_bias"] = bias.has_value() && bias->defined();
    return linear_below(input, blocks, block_columns, block_row_offsets, key, std::nullopt, bias, std::move(out_features),
                        std::move(in_features), "none");
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    variable_list result(8);
    const auto& grad_output = grads[0];
    if (!grad_output.defined()) {
      return result;
    }
    const auto saved = context->get_saved_variables();
    const Tensor &input = saved[0], &blocks = saved[1], &block_columns = saved[2], &block_row_offsets = saved[3], &key = saved[4];
    const auto number = [&](const char* name) { return context->saved_data[name].toSymInt(); };
    if (context->needs_input_grad(kInput) && blocks.defined()) {
      static const auto op = find_op<LinearBsrBackwardInput>("jouleprune::linear_bsr_backward_input");
      result[0] = op.call(grad_output, blocks, block_columns, block_row_offsets, key, number("out_features"),
                          number("in_features"));
    }
    if (context->needs_input_grad(kBlocks) && input.defined()) {
      static const auto op = find_op<LinearBsrBackwardValues>("jouleprune::linear_bsr_backward_values");
      const c10::SymInt block_size[] = {number("r"), number("c")};
      result[1] = op.call(grad_output, input, block_columns, block_row_offsets, key, block_size, number("out_features"),
                          number("in_features"));
    }
    if (context->saved_data["has_bias"].toBool() && context->needs_input_grad(kBias)) {
      result[5] = sum_leading(grad_output);
    }
    return result;
  }
};

Tensor linear_bsr_autograd(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                           const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias,
                           c10::SymInt out_features, c10::SymInt in_features, std::string_view activation) {
  refuse_forward_mode("linear_bsr", input, blocks, value_or_undefined(bias));
  if (!needs_grad(input, blocks, value_or_undefined(bias)) || blocks.dim() != 3) {  // other shapes are the kernel's to refuse
    return linear_below(input, blocks, block_columns, block_row_offsets, key, prepacked, bias, std::move(out_features),
                        std::move(in_features), activation);
  }
  const auto act = parse_activation("linear_bsr", activation);
  const auto product = LinearBsrFunction::apply(input, blocks, block_columns, block_row_offsets, key, bias, std::move(out_features),
                                                std::move(in_features));
  return activate(act, product);
}

Tensor backward_input_autograd(const Tensor& grad_output, const Tensor& blocks, const Tensor& block_columns,
                               const Tensor& block_row_offsets, const Tensor& key, c10::SymInt out_features,
                               c10::SymInt in_features) {
  refuse_second_derivative("linear_bsr_backward_input", "bsr", grad_output, blocks);
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<LinearBsrBackwardInput>("jouleprune::linear_bsr_backward_input");
  return op.call(grad_output, blocks, block_columns, block_row_offsets, key, std::move(out_features), std::move(in_features));
}

Tensor backward_values_autograd(const Tensor& grad_output, const Tensor& input, const Tensor& block_columns,
                                const Tensor& block_row_offsets, const Tensor& key, c10::SymIntArrayRef block_size,
                                c10::SymInt out_features, c10::SymInt in_features) {
  refuse_second_derivative("linear_bsr_backward_values", "bsr", grad_output, input);
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<LinearBsrBackwardValues>("jouleprune::linear_bsr_backward_values");
  return op.call(grad_output, input, block_columns, block_row_offsets, key, block_size, std::move(out_features),
                 std::move(in_features));
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, Autograd, m) {
  m.impl("linear_bsr", TORCH_FN(jouleprune::ops::linear_bsr_autograd));
  m.impl("linear_bsr_backward_input", TORCH_FN(jouleprune::ops::backward_input_autograd));
  m.impl("linear_bsr_backward_values", TORCH_FN(jouleprune::ops::backward_values_autograd));
}
