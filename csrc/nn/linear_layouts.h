// The layouts of SparseLinear: which tensors each has, and the ops that pack, multiply and unpack them.
#pragma once
#include <jouleprune/nn.h>

#include <optional>
#include <string>
#include <vector>

namespace jouleprune::nn {

struct LinearTensor {
  const char* name;  // in the state dict
  at::Tensor SparseLinearImpl::*member;
  bool parameter;
};

struct LinearLayout {
  std::vector<LinearTensor> tensors;  // without the bias
  bool trains;                        // else the bias is a buffer, too
  /// Gives the members an empty weight of the options' sizes.
  void (*start_empty)(SparseLinearImpl& layer);
  /// Gives the members the packed weight. `mask`: bool [out_features, in_features].
  void (*pack)(SparseLinearImpl& layer, const at::Tensor& weight, const std::optional<at::Tensor>& mask);
  at::Tensor (*multiply)(const SparseLinearImpl& layer, const at::Tensor& input, const std::optional<at::Tensor>& bias);
  at::Tensor (*unpack)(const SparseLinearImpl& layer);
};

/// Throws PatternError, as `op`, for a layout or dtype that there is not.
const LinearLayout& layout_of(const std::string& op, const SparseLinearOptions& options);

/// Sizes of `weight` and what the options ask for; block sizes that were left open are chosen. Throws as SparseLinear::from_dense.
SparseLinearOptions resolved(const std::string& op, const at::Tensor& weight, bool bias, const PackOptions& options);

/// y = activation(x W^T + bias + residual) of a layer in layout csr.
at::Tensor multiply_csr(const SparseLinearImpl& layer, const at::Tensor& input, const std::optional<at::Tensor>& bias,
                        const std::optional<at::Tensor>& residual);

/// bool [ceil(rows / r), ceil(cols / c)]: which blocks of r x c hold a kept entry of bool [rows, cols].
at::Tensor kept_blocks(const at::Tensor& kept, const BlockSize& size);

/// The largest of the known block sizes whose kept blocks hold no pruned entry. `kept`: bool [rows, cols]. Throws PatternError when
/// none does.
BlockSize detect_block_size(const std::string& op, const at::Tensor& kept);

/// The layout of an archive: options of the same sizes.
SparseLinearOptions layout_in(const std::string& op, torch::serialize::InputArchive& archive, const SparseLinearOptions& sizes);

}  // namespace jouleprune::nn
