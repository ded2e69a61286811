// Derivatives of linear_csr, in C++ so that programs without Python train too. Backward calls registered ops only, so that it can
// be traced.
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "ops/csr_autograd.h"
#include "ops/csr_checks.h"
#include "ops/packed_forms.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Tensor linear_below(const Tensor& input, const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets,
                    const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias, c10::SymInt in_features,
                    std::string_view activation, const OptionalTensor& residual) {
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<LinearCsr>("jouleprune::linear_csr");
  return op.call(input, values, col_indices, row_offsets, key, prepacked, bias, std::move(in_features), activation, residual);
}

struct LinearCsrFunction : torch::autograd::Function<LinearCsrFunction> {
  static constexpr bool is_traceable = true;
  // Places of the tensors among the inputs that may have gradients: bias comes last, for it counts only when present.
  enum Input : size_t { kInput, kValues, kColIndices, kRowOffsets, kKey, kBias };

  static Tensor forward(AutogradContext* context, const Tensor& input, const Tensor& values, const Tensor& col_indices,
                        const Tensor& row_offsets, const Tensor& key, const OptionalTensor& bias, c10::SymInt in_features) {
    context->set_materialize_grads(false);
    // The input is only needed for the gradient of the values, and the other way round.
    context->save_for_backward({values.requires_grad() ? input : Tensor(), input.requires_grad() ? values : Tensor(), col_indices,
                                row_offsets, key});
    context->saved_data["in_features"] = in_features;
    context->saved_data["has_bias"] = bias.has_value() && bias->defined();
    const FreshValues fresh;
    return linear_below(input, values, col_indices, row_offsets, key, std::nullopt, bias, std::move(in_features), "none", std::nullopt);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    variable_list result(7);
    const auto& grad_output = grads[0];
    if (!grad_output.defined()) {
      return result;
    }
    const auto saved = context->get_saved_variables();
    const Tensor &input = saved[0], &values = saved[1], &col_indices = saved[2], &row_offsets = saved[3], &key = saved[4];
    const auto in_features = context->saved_data["in_features"].toSymInt();
    if (context->needs_input_grad(kInput) && values.defined()) {
      static const auto op = find_op<LinearCsrBackward>("jouleprune::linear_csr_backward_input");
      result[0] = op.call(grad_output, values, col_indices, row_offsets, key, in_features);
    }
    if (context->needs_input_grad(kValues) && input.defined()) {
      static const auto op = find_op<LinearCsrBackward>("jouleprune::linear_csr_backward_values");
      result[1] = op.call(grad_output, input, col_indices, row_offsets, key, in_features);
    }
    if (context->saved_data["has_bias"].toBool() && context->needs_input_grad(kBias)) {
      result[5] = sum_leading(grad_output);
    }
    return result;
  }
};

Tensor linear_csr_autograd(const Tensor& input, const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets,
                           const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias,
                           c10::SymInt in_features, std::string_view activation, const OptionalTensor& residual) {
  const auto added = value_or_undefined(residual);
  refuse_forward_mode("linear_csr", input, values, value_or_undefined(bias), added);
  if (!needs_grad(input, values, value_or_undefined(bias), added)) {
    return linear_below(input, values, col_indices, row_offsets, key, prepacked, bias, std::move(in_features), activation, residual);
  }
  const auto act = parse_activation("linear_csr", activation);
  const auto product = LinearCsrFunction::apply(input, values, col_indices, row_offsets, key, bias, std::move(in_features));
  return finish(act, product, check_residual("linear_csr", residual, product, input));
}

Tensor backward_input_autograd(const Tensor& grad_output, const Tensor& values, const Tensor& col_indices,
                               const Tensor& row_offsets, const Tensor& key, c10::SymInt in_features) {
  refuse_double_backward("linear_csr_backward_input", grad_output, values);
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<LinearCsrBackward>("jouleprune::linear_csr_backward_input");
  return op.call(grad_output, values, col_indices, row_offsets, key, std::move(in_features));
}

Tensor backward_values_autograd(const Tensor& grad_output, const Tensor& input, const Tensor& col_indices,
                                const Tensor& row_offsets, const Tensor& key, c10::SymInt in_features) {
  refuse_double_backward("linear_csr_backward_values", grad_output, input);
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<LinearCsrBackward>("jouleprune::linear_csr_backward_values");
  return op.call(grad_output, input, col_indices, row_offsets, key, std::move(in_features));
}

}  // namespace

Tensor sum_leading(const Tensor& grad) {
  if (grad.dim() == 1) {
    return grad;
  }
  std::vector<int64_t> dims(static_cast<size_t>(grad.dim() - 1));
  for (size_t i = 0; i < dims.size(); ++i) {
    dims[i] = static_cast<int64_t>(i);
  }
  return grad.sum(dims);
}

}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, Autograd, m) {
  m.impl("linear_csr", TORCH_FN(jouleprune::ops::linear_csr_autograd));
  m.impl("linear_csr_backward_input", TORCH_FN(jouleprune::ops::backward_input_autograd));
  m.impl("linear_csr_backward_values", TORCH_FN(jouleprune::ops::backward_values_autograd));
}
