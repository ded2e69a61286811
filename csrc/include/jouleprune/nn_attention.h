// Sparse multi-head attention: torch::nn::MultiheadAttention with pruned projections. State dict as in Python: the projections are
// children, each with its bias: "in_proj_weight.values", ..., "in_proj_weight.bias", "out_proj.values", ...
#pragma once
#include <jouleprune/nn_sequence.h>
#include <torch/nn/modules/activation.h>

#include <memory>
#include <set>
#include <string>
#include <tuple>

namespace jouleprune::nn {

class ProjectionParts;  // products with the thirds of the input projection

/// The interface and options of torch::nn::MultiheadAttention, trainable at the kept entries. Its matrices are "in_proj_weight", or
/// "q_proj_weight", "k_proj_weight" and "v_proj_weight" when kdim or vdim differ from embed_dim, and "out_proj".
class SparseMultiheadAttentionImpl : public torch::nn::Cloneable<SparseMultiheadAttentionImpl>, public Explained, public Matrices {
 public:
  SparseMultiheadAttentionImpl(int64_t embed_dim, int64_t num_heads)
      : SparseMultiheadAttentionImpl(torch::nn::MultiheadAttentionOptions(embed_dim, num_heads)) {}
  /// No entry kept: a place to load into. Throws c10::ValueError for sizes that do not go together.
  explicit SparseMultiheadAttentionImpl(const torch::nn::MultiheadAttentionOptions& options);

  void reset() override;
  void pretty_print(std::ostream& stream) const override;

  /// query [queries, n, embed_dim], key [keys, n, kdim], value [keys, n, vdim]; `key_padding_mask` [n, keys]: bool, true = ignored;
  /// `attn_mask` [queries, keys] or [n x heads, queries, keys]: bool, true = ignored, or added to the scores. Returns the output
  /// [queries, n, embed_dim] and, if needed, the weights [n, queries, keys], or [n, heads, queries, keys] when they are not
  /// averaged. Queries, keys and values that are one tensor are projected by one product. Throws c10::ValueError.
  std::tuple<at::Tensor, at::Tensor> forward(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                             const at::Tensor& key_padding_mask = {}, bool need_weights = true,
                                             const at::Tensor& attn_mask = {}, bool average_attn_weights = true);
  /// A torch::nn::MultiheadAttention with equal outputs; what was pruned is zero. Nothing is shared.
  torch::nn::MultiheadAttention to_dense() const;

  torch::nn::MultiheadAttentionOptions options;
  at::Tensor bias_k, bias_v;  ///< [1, 1, embed_dim], parameters, or undefined

 protected:
  FORWARD_HAS_DEFAULT_ARGS({3, torch::nn::AnyValue(at::Tensor())}, {4, torch::nn::AnyValue(true)},
                           {5, torch::nn::AnyValue(at::Tensor())}, {6, torch::nn::AnyValue(true)})

 private:
  std::tuple<at::Tensor, at::Tensor, at::Tensor> project(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value);
  std::shared_ptr<ProjectionParts> parts_;
};

class SparseMultiheadAttention : public torch::nn::ModuleHolder<SparseMultiheadAttentionImpl> {
 public:
  using torch::nn::ModuleHolder<SparseMultiheadAttentionImpl>::ModuleHolder;
  using Impl [[maybe_unused]] = SparseMultiheadAttentionImpl;
  /// As SparseLSTM::from_dense; the output projection is called "out_proj.weight" in `masks` and `stay_dense`.
  static SparseMultiheadAttention from_dense(const torch::nn::MultiheadAttentionImpl& dense, const std::string& layout = "csr",
                                             const Masks& masks = {}, const std::set<std::string>& stay_dense = {});
  static SparseMultiheadAttention from_dense(const torch::nn::MultiheadAttention& dense, const std::string& layout = "csr",
                                             const Masks& masks = {}, const std::set<std::string>& stay_dense = {}) {
    return from_dense(*dense, layout, masks, stay_dense);
  }
};

/// torch::nn::MultiheadAttention that can switch to sparse in place, as LSTM in nn_sequence.h.
class MultiheadAttentionImpl : public SwitchableImpl<MultiheadAttentionImpl, torch::nn::MultiheadAttention, SparseMultiheadAttention> {
 public:
  MultiheadAttentionImpl(int64_t embed_dim, int64_t num_heads)
      : MultiheadAttentionImpl(torch::nn::MultiheadAttentionOptions(embed_dim, num_heads)) {}
  explicit MultiheadAttentionImpl(const torch::nn::MultiheadAttentionOptions& options) : SwitchableImpl(options) {}
  /// As SparseMultiheadAttention's.
  std::tuple<at::Tensor, at::Tensor> forward(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                             const at::Tensor& key_padding_mask = {}, bool need_weights = true,
                                             const at::Tensor& attn_mask = {}, bool average_attn_weights = true);

 protected:
  FORWARD_HAS_DEFAULT_ARGS({3, torch::nn::AnyValue(at::Tensor())}, {4, torch::nn::AnyValue(true)},
                           {5, torch::nn::AnyValue(at::Tensor())}, {6, torch::nn::AnyValue(true)})
};
extern template class SwitchableImpl<MultiheadAttentionImpl, torch::nn::MultiheadAttention, SparseMultiheadAttention>;
TORCH_MODULE(MultiheadAttention);

}  // namespace jouleprune::nn
