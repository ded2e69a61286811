// Derivatives of linear_nm and unpack_nm, in C++ so that programs without Python train too. Backward calls registered ops only, so that
// it can be traced.
#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/floor_divide.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "ops/csr_autograd.h"
#include "ops/csr_checks.h"
#include "ops/nm_signatures.h"
#include "ops/packed_forms.h"

namespace jouleprune::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Tensor linear_below(const Tensor& input, const Tensor& values, const Tensor& indices, const Tensor& key, const OptionalTensor& prepacked,
                    const OptionalTensor& bias, c10::SymInt in_features, int64_t n, int64_t m, std::string_view activation) {
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<LinearNm>("jouleprune::linear_nm");
  return op.call(input, values, indices, key, prepacked, bias, std::move(in_features), n, m, activation);
}

struct LinearNmFunction : torch::autograd::Function<LinearNmFunction> {
  static constexpr bool is_traceable = true;
  // Places of the tensors among the inputs that may have gradients: bias comes last, for it counts only when present.
  enum Input : size_t { kInput, kValues, kIndices, kKey, kBias };

  static Tensor forward(AutogradContext* context, const Tensor& input, const Tensor& values, const Tensor& indices, const Tensor& key,
                        const OptionalTensor& bias, c10::SymInt in_features, int64_t n, int64_t m) {
    context->set_materialize_grads(false);
    // The input is only needed for the gradient of the values, and the other way round.
    context->save_for_backward({values.requires_grad() ? input : Tensor(), input.requires_grad() ? values : Tensor(), indices, key});
    context->saved_data["in_features"] = in_features;
    context->saved_data["n"] = n;
    context->saved_data["m"] = m;
    context->saved_data["has_bias"] = bias.has_value() && bias->defined();
    const FreshValues fresh;
    return linear_below(input, values, indices, key, std::nullopt, bias, std::move(in_features), n, m, "none");
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    variable_list result(8);
    const auto& grad_output = grads[0];
    if (!grad_output.defined()) {
      return result;
    }
    const auto saved = context->get_saved_variables();
    const Tensor &input = saved[0], &values = saved[1], &indices = saved[2], &key = saved[3];
    const auto in_features = context->saved_data["in_features"].toSymInt();
    const int64_t n = context->saved_data["n"].toInt(), m = context->saved_data["m"].toInt();
    if (context->needs_input_grad(kInput) && values.defined()) {
      static const auto op = find_op<LinearNmBackward>("jouleprune::linear_nm_backward_input");
      result[0] = op.call(grad_output, values, indices, key, in_features, n, m);
    }
    if (context->needs_input_grad(kValues) && input.defined()) {
      static const auto op = find_op<LinearNmBackward>("jouleprune::linear_nm_backward_values");
      result[1] = op.call(grad_output, input, indices, key, in_features, n, m);
    }
    if (context->saved_data["has_bias"].toBool() && context->needs_input_grad(kBias)) {
      result[4] = sum_leading(grad_output);
    }
    return result;
  }
};

Tensor linear_nm_autograd(const Tensor& input, const Tensor& values, const Tensor& indices, const Tensor& key,
                          const OptionalTensor& prepacked, const OptionalTensor& bias, c10::SymInt in_features, int64_t n, int64_t m,
                          std::string_view activation) {
  refuse_forward_mode("linear_nm", input, values, value_or_undefined(bias));
  if (!needs_grad(input, values, value_or_undefined(bias))) {
    return linear_below(input, values, indices, key, prepacked, bias, std::move(in_features), n, m, activation);
  }
  const auto act = parse_activation("linear_nm", activation);
  return activate(act, LinearNmFunction::apply(input, values, indices, key, bias, std::move(in_features), n, m));
}

Tensor backward_input_autograd(const Tensor& grad_output, const Tensor& values, const Tensor& indices, const Tensor& key,
                               c10::SymInt in_features, int64_t n, int64_t m) {
  refuse_second_derivative("linear_nm_backward_input", "nm", grad_output, values);
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<LinearNmBackward>("jouleprune::linear_nm_backward_input");
  return op.call(grad_output, values, indices, key, std::move(in_features), n, m);
}

Tensor backward_values_autograd(const Tensor& grad_output, const Tensor& input, const Tensor& indices, const Tensor& key,
                                c10::SymInt in_features, int64_t n, int64_t m) {
  refuse_second_derivative("linear_nm_backward_values", "nm", grad_output, input);
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<LinearNmBackward>("jouleprune::linear_nm_backward_values");
  return op.call(grad_output, input, indices, key, std::move(in_features), n, m);
}

Tensor unpack_below(const Tensor& values, const Tensor& indices, c10::SymInt cols, int64_t n, int64_t m) {
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<UnpackNm>("jouleprune::unpack_nm");
  return op.call(values, indices, std::move(cols), n, m);
}

struct UnpackNmFunction : torch::autograd::Function<UnpackNmFunction> {
  static constexpr bool is_traceable = true;

  static Tensor forward(AutogradContext* context, const Tensor& values, const Tensor& indices, c10::SymInt cols, int64_t n, int64_t m) {
    context->set_materialize_grads(false);
    context->save_for_backward({indices});
    context->saved_data["n"] = n;
    context->saved_data["m"] = m;
    return unpack_below(values, indices, std::move(cols), n, m);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    variable_list result(5);
    if (grads[0].defined()) {
      const Tensor indices = context->get_saved_variables()[0];
      const int64_t n = context->saved_data["n"].toInt(), m = context->saved_data["m"].toInt();
      const auto slots = at::arange(indices.sym_size(1), indices.options().dtype(at::kLong));
      result[0] = grads[0].gather(1, indices.to(at::kLong) + at::floor_divide(slots, n) * m);
    }
    return result;
  }
};

Tensor unpack_nm_autograd(const Tensor& values, const Tensor& indices, c10::SymInt cols, int64_t n, int64_t m) {
  refuse_forward_mode("unpack_nm", values);
  if (!needs_grad(values) || indices.dim() != 2) {  // other shapes are the kernel's to refuse
    return unpack_below(values, indices, std::move(cols), n, m);
  }
  return UnpackNmFunction::apply(values, indices, std::move(cols), n, m);
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, Autograd, m) {
  m.impl("linear_nm", TORCH_FN(jouleprune::ops::linear_nm_autograd));
  m.impl("linear_nm_backward_input", TORCH_FN(jouleprune::ops::backward_input_autograd));
  m.impl("linear_nm_backward_values", TORCH_FN(jouleprune::ops::backward_values_autograd));
  m.impl("unpack_nm", TORCH_FN(jouleprune::ops::unpack_nm_autograd));
  m.impl("pack_nm", torch::CppFunction::makeFallthrough());
}
