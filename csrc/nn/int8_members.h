// What the modules with an int8 weight do alike with their members blocks, block_columns, block_row_offsets, key, scales, input_scale
// and bias, all of which are buffers.
#pragma once
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <jouleprune/ops_int8.h>

#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "formats/csr.h"
#include "kernels/bsr_int8/bsr_int8_kernels.h"
#include "nn/csr_members.h"

namespace jouleprune::nn {

/// Names in the state dict, without the bias.
template <class Module>
const auto& int8_tensors() {
  static constexpr std::array<std::pair<const char*, at::Tensor Module::*>, 6> kTensors = {{
      {"blocks", &Module::blocks},
      {"block_columns", &Module::block_columns},
      {"block_row_offsets", &Module::block_row_offsets},
      {"key", &Module::key},
      {"scales", &Module::scales},
      {"input_scale", &Module::input_scale},
  }};
  return kTensors;
}

/// No block kept, of a weight of `rows` with `quads` places for blocks each.
template <class Module>
void start_empty_int8(Module& module, int64_t rows, int64_t quads) {
  module.blocks = at::empty({0, 1, kernels::bsr_int8::kQuad}, at::kChar);
  module.block_columns = at::empty({0}, at::kInt);
  module.block_row_offsets = at::zeros({rows + 1}, at::kInt);
  const auto key = formats::csr_key({rows, quads, 0, nullptr, module.block_row_offsets.template const_data_ptr<int32_t>()});
  module.key = at::tensor({key[0], key[1]}, at::kLong);
  module.scales = at::ones({rows});
  module.input_scale = at::zeros({1});
}

/// `weight`, `mask`: [rows, ...], flattened to rows of quads.
template <class Module>
void pack_int8(Module& module, const at::Tensor& weight, const std::optional<at::Tensor>& mask) {
  std::tie(module.blocks, module.block_columns, module.block_row_offsets, module.key, module.scales) = pack_bsr_int8(weight, mask);
  module.input_scale = at::zeros({1});
}

/// Registers own copies of the present members.
template <class Module>
void register_int8(Module& module, bool with_bias) {
  for (const auto& [name, member] : int8_tensors<Module>()) {
    module.*member = module.register_buffer(name, (module.*member).detach().clone());
  }
  module.bias = with_bias ? module.register_buffer("bias", module.bias.detach().clone()) : at::Tensor();
}

/// Reads the tensors of an archive, without the bias, into an empty module of the sizes that they must have. Throws c10::ValueError for
/// dtypes and sizes; whether the structure is sound is for the op to say.
template <class Module>
void read_int8(const std::string& op, Module& module, torch::serialize::InputArchive& archive) {
  for (const auto& [name, member] : int8_tensors<Module>()) {
    at::Tensor found;
    TORCH_CHECK_VALUE(archive.try_read(name, found, /*is_buffer=*/true), op, ": expected '", name, "' in the archive, found none");
    const at::Tensor& expected = module.*member;
    const size_t free_sizes = member == &Module::blocks || member == &Module::block_columns ? 1 : 0;  // the number of kept blocks
    const bool sizes = found.dim() == expected.dim() && found.sizes().slice(free_sizes) == expected.sizes().slice(free_sizes);
    TORCH_CHECK_VALUE(sizes && found.scalar_type() == expected.scalar_type(), op, ": ", name, ": expected ", expected.scalar_type(), " ",
                      expected.sizes(), free_sizes > 0 ? " (any first size)" : "", ", got ", found.scalar_type(), " ", found.sizes());
    module.*member = found;
  }
}

/// As scale_members of csr: the blocks stay, their scales and the bias change.
template <class Module>
void scale_int8(const std::string& op, Module& module, const at::Tensor& scale, const at::Tensor& shift) {
  const at::NoGradGuard no_grad;
  const int64_t rows = module.scales.numel();
  check_row_factors(op, rows, scale, shift);
  if (!module.bias.defined()) {
    module.bias = module.register_buffer("bias", at::zeros({rows}, module.scales.options()));
  }
  const auto factors = scale.to(module.scales.device()).to(at::kDouble), added = shift.to(module.scales.device()).to(at::kDouble);
  module.scales.copy_(module.scales.to(at::kDouble) * factors);
  module.bias.copy_(module.bias.to(at::kDouble) * factors + added);
}

/// Throws c10::ValueError for a scale that is not positive.
template <class Module>
void fix_int8_input_scale(const std::string& op, Module& module, std::optional<double> scale) {
  TORCH_CHECK_VALUE(!scale.has_value() || (*scale > 0 && std::isfinite(*scale)), op, ": scale: expected a positive number, got ",
                    scale.value_or(0));
  const at::NoGradGuard no_grad;
  module.input_scale.fill_(scale.value_or(0));
}

}  // namespace jouleprune::nn
