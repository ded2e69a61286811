// What the modules with one csr weight do alike with their members values, col_indices, row_offsets, key and bias.
#pragma once
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include <string>
#include <utility>

#include "nn/csr_weight.h"

namespace jouleprune::nn {

/// Members with no entry kept; reset() registers them.
template <class Module>
void start_empty(Module& module, int64_t rows, int64_t cols, bool with_bias) {
  auto csr = empty_csr(rows, cols);
  module.values = std::move(csr.values);
  module.col_indices = std::move(csr.col_indices);
  module.row_offsets = std::move(csr.row_offsets);
  module.key = std::move(csr.key);
  if (with_bias) {
    module.bias = at::zeros({rows});
  }
}

/// Registers own copies of the present members.
template <class Module>
void register_members(Module& module, bool with_bias) {
  module.values = module.register_parameter("values", module.values.detach().clone());
  module.col_indices = module.register_buffer("col_indices", module.col_indices.clone());
  module.row_offsets = module.register_buffer("row_offsets", module.row_offsets.clone());
  module.key = module.register_buffer("key", module.key.clone());
  if (with_bias) {
    module.bias = module.register_parameter("bias", module.bias.detach().clone());
  } else {
    module.register_parameter("bias", at::Tensor(), /*requires_grad=*/false);
  }
}

template <class Module>
void assign_members(Module& module, const CsrWeight& csr) {
  assign({module.values, module.col_indices, module.row_offsets, module.key}, csr);
}

/// Reads and checks everything before anything changes. Throws c10::ValueError.
template <class Module>
void load_members(const std::string& op, Module& module, torch::serialize::InputArchive& archive, int64_t rows, int64_t cols,
                  bool with_bias) {
  const auto csr = read_csr(op, archive, rows, cols);
  const auto loaded_bias = read_bias(op, archive, rows, with_bias);
  assign_members(module, csr);
  if (with_bias) {
    assign_parameter(module.bias, loaded_bias);
  }
}

/// Takes the packed weight of `dense` and copies its bias, what is trainable, and the mode.
template <class Module, class Dense>
void take_dense(Module& module, const CsrWeight& csr, const Dense& dense) {
  assign_members(module, csr);
  module.values.set_requires_grad(dense.weight.requires_grad());
  if (dense.bias.defined()) {
    assign_parameter(module.bias, dense.bias.detach().clone());
    module.bias.set_requires_grad(dense.bias.requires_grad());
  }
  module.train(dense.is_training());
}

/// Both are to be floating point [rows]. Throws c10::ValueError.
inline void check_row_factors(const std::string& op, int64_t rows, const at::Tensor& scale, const at::Tensor& shift) {
  for (const auto& [name, tensor] : {std::pair{"scale", scale}, std::pair{"shift", shift}}) {
    TORCH_CHECK_VALUE(tensor.defined() && tensor.dim() == 1 && tensor.numel() == rows && tensor.is_floating_point(), op, ": ", name,
                      ": expected floating point [", rows, "], got ", tensor.defined() ? tensor.sizes() : at::IntArrayRef{});
  }
}

/// Scales the rows of the weight and adds to the bias. `bias_slot`: where the module registered its bias, which may be undefined.
template <class Module>
void scale_members(const std::string& op, Module& module, at::Tensor& bias_slot, const at::Tensor& scale, const at::Tensor& shift) {
  const at::NoGradGuard no_grad;
  const int64_t rows = module.row_offsets.numel() - 1;
  check_row_factors(op, rows, scale, shift);
  if (!module.bias.defined()) {
    module.bias = bias_slot = at::zeros({rows}, module.values.options()).set_requires_grad(module.values.requires_grad());
  }
  const auto factors = scale.to(module.values.device()).to(at::kDouble), added = shift.to(module.values.device()).to(at::kDouble);
  const auto kept = module.row_offsets.slice(0, 1) - module.row_offsets.slice(0, 0, -1);
  module.values.copy_(module.values.to(at::kDouble) * factors.repeat_interleave(kept.to(at::kLong)));
  module.bias.copy_(module.bias.to(at::kDouble) * factors + added);
}

}  // namespace jouleprune::nn
