// unpack_bsr is differentiable in blocks: its backward gathers the kept blocks. What packs has no derivative.
#include <ATen/TensorOperators.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/repeat_interleave.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "ops/csr_autograd.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Tensor unpack_below(const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets, c10::SymInt rows,
                    c10::SymInt cols) {
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<UnpackBsr>("jouleprune::unpack_bsr");
  return op.call(blocks, block_columns, block_row_offsets, std::move(rows), std::move(cols));
}

/// The blocks of `dense` [rows, cols] at the places of a structure; zeros beyond its edges.
Tensor gather_blocks(const Tensor& dense, const Tensor& block_columns, const Tensor& block_row_offsets, const c10::SymInt& r,
                     const c10::SymInt& c) {
  const auto down = block_row_offsets.sym_size(0) - 1;
  const auto across = (dense.sym_size(1) + c - 1) / c;
  const c10::SymInt padding[] = {0, across * c - dense.sym_size(1), 0, down * r - dense.sym_size(0)};
  const auto padded = at::constant_pad_nd_symint(dense, padding, 0);
  const c10::SymInt in_blocks[] = {down, r, across, c}, in_rows[] = {down * across, r, c};
  const auto all = padded.reshape_symint(in_blocks).transpose(1, 2).reshape_symint(in_rows);
  const auto counts = block_row_offsets.slice(0, 1) - block_row_offsets.slice(0, 0, -1);
  const auto block_rows = at::repeat_interleave_symint(counts, std::make_optional(block_columns.sym_size(0)));
  return all.index_select(0, block_rows.to(at::kLong) * across + block_columns);
}

struct UnpackBsrFunction : torch::autograd::Function<UnpackBsrFunction> {
  static constexpr bool is_traceable = true;

  static Tensor forward(AutogradContext* context, const Tensor& blocks, const Tensor& block_columns,
                        const Tensor& block_row_offsets, c10::SymInt rows, c10::SymInt cols) {
    context->set_materialize_grads(false);
    context->save_for_backward({block_columns, block_row_offsets});
    context->saved_data["r"] = blocks.sym_size(1);
    context->saved_data["c"] = blocks.sym_size(2);
    return unpack_below(blocks, block_columns, block_row_offsets, std::move(rows), std::move(cols));
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    variable_list result(5);
    if (grads[0].defined()) {
      const auto saved = context->get_saved_variables();
      const auto number = [&](const char* name) { return context->saved_data[name].toSymInt(); };
      result[0] = gather_blocks(grads[0], saved[0], saved[1], number("r"), number("c"));
    }
    return result;
  }
};

Tensor unpack_bsr_autograd(const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets, c10::SymInt rows,
                           c10::SymInt cols) {
  refuse_forward_mode("unpack_bsr", blocks);
  if (!needs_grad(blocks) || blocks.dim() != 3) {  // other shapes are the kernel's to refuse
    return unpack_below(blocks, block_columns, block_row_offsets, std::move(rows), std::move(cols));
  }
  return UnpackBsrFunction::apply(blocks, block_columns, block_row_offsets, std::move(rows), std::move(cols));
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, Autograd, m) {
  m.impl("unpack_bsr", TORCH_FN(jouleprune::ops::unpack_bsr_autograd));
  m.impl("pack_bsr", torch::CppFunction::makeFallthrough());
  m.impl("prepack_bsr", torch::CppFunction::makeFallthrough());
}
