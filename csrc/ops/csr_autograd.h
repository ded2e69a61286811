// What the autograd kernels of the csr ops share.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

#include <optional>

namespace jouleprune::ops {

/// Whether a call on these tensors has to be recorded.
template <class... Tensors>
bool needs_grad(const Tensors&... tensors) {
  return at::GradMode::is_enabled() && ((tensors.defined() && tensors.requires_grad()) || ...);
}

inline at::Tensor value_or_undefined(const std::optional<at::Tensor>& tensor) { return tensor.value_or(at::Tensor()); }

/// A tangent that nobody propagates would count as zero: a wrong derivative without a word. Grad mode plays no part in it.
template <class... Tensors>
void refuse_forward_mode(const char* op, const Tensors&... tensors) {
  TORCH_CHECK(!((tensors.defined() && tensors._fw_grad(/*level=*/0).defined()) || ...), op, ": forward-mode derivatives ",
              "(torch.func.jvp, torch.autograd.forward_ad) are not supported; use backward, or the dense weight");
}

/// Gradients are made by ops that have none themselves. `layout`: "csr", ...
template <class... Tensors>
void refuse_second_derivative(const char* op, const char* layout, const Tensors&... tensors) {
  refuse_forward_mode(op, tensors...);
  TORCH_CHECK(!needs_grad(tensors...), op, " has no derivative: double backward through layout ", layout, " (create_graph=True) is ",
              "not supported; use the dense weight, unpack_", layout, "(...), where second derivatives are needed");
}
template <class... Tensors>
void refuse_double_backward(const char* op, const Tensors&... tensors) {
  refuse_second_derivative(op, "csr", tensors...);
}

/// Sum over all dimensions but the last: the gradient of a bias.
at::Tensor sum_leading(const at::Tensor& grad);

}  // namespace jouleprune::ops
