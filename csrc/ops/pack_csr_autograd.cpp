// unpack_csr is differentiable in values: its backward gathers the kept entries. What packs has no derivative: results are new
// tensors that need no gradient.
#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/repeat_interleave.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "ops/csr_autograd.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Tensor unpack_below(const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets, c10::SymInt cols) {
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<UnpackCsr>("jouleprune::unpack_csr");
  return op.call(values, col_indices, row_offsets, std::move(cols));
}

struct UnpackCsrFunction : torch::autograd::Function<UnpackCsrFunction> {
  static constexpr bool is_traceable = true;

  static Tensor forward(AutogradContext* context, const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets,
                        c10::SymInt cols) {
    context->set_materialize_grads(false);
    context->save_for_backward({col_indices, row_offsets});
    return unpack_below(values, col_indices, row_offsets, std::move(cols));
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    variable_list result(4);
    if (grads[0].defined()) {
      const auto saved = context->get_saved_variables();
      const Tensor &col_indices = saved[0], &row_offsets = saved[1];
      const auto counts = row_offsets.slice(0, 1) - row_offsets.slice(0, 0, -1);
      const auto row_indices = at::repeat_interleave_symint(counts, std::make_optional(col_indices.sym_size(0)));
      const auto places = row_indices.to(at::kLong) * grads[0].sym_size(1) + col_indices;
      result[0] = grads[0].reshape({-1}).index_select(0, places);
    }
    return result;
  }
};

Tensor unpack_csr_autograd(const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets, c10::SymInt cols) {
  refuse_forward_mode("unpack_csr", values);
  if (!needs_grad(values)) {
    return unpack_below(values, col_indices, row_offsets, std::move(cols));
  }
  return UnpackCsrFunction::apply(values, col_indices, row_offsets, std::move(cols));
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, Autograd, m) {
  m.impl("unpack_csr", TORCH_FN(jouleprune::ops::unpack_csr_autograd));
  m.impl("pack_csr", torch::CppFunction::makeFallthrough());
  m.impl("prepack_csr", torch::CppFunction::makeFallthrough());
}
