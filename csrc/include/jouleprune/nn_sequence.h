// Sparse modules for sequences: torch::nn::Conv1d, LSTM and GRU with pruned weights. State dict as in Python: the matrices of LSTM
// and GRU are children named as torch's weights, each with its bias: "weight_ih_l0.values", ..., "weight_ih_l0.bias".
#pragma once
#include <jouleprune/nn.h>
#include <torch/nn/modules/rnn.h>
#include <torch/nn/utils/rnn.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace jouleprune::nn {

/// SparseConv2d of height 1: input [n, in_channels, w] or [in_channels, w].
class SparseConv1dImpl : public torch::nn::Cloneable<SparseConv1dImpl>, public Explained {
 public:
  SparseConv1dImpl(int64_t in_channels, int64_t out_channels, torch::ExpandingArray<1> kernel_size)
      : SparseConv1dImpl(torch::nn::Conv1dOptions(in_channels, out_channels, kernel_size)) {}
  explicit SparseConv1dImpl(const torch::nn::Conv1dOptions& options);
  /// No entry kept: a place to load into. Throws PatternError when the options have no sparse kernel.
  explicit SparseConv1dImpl(torch::nn::detail::ConvNdOptions<1> options);

  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  void load(torch::serialize::InputArchive& archive) override;
  void to(torch::Device device, torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Device device, bool non_blocking = false) override;

  at::Tensor forward(const at::Tensor& input);
  /// Weight [out_channels, in_channels / groups, kernel size] with its zeros; differentiable in `values`.
  at::Tensor to_dense() const;
  int64_t nnz() const { return values.numel(); }
  /// As SparseLinear's, by output channels.
  void scale_rows(const at::Tensor& scale, const at::Tensor& shift);

  torch::nn::detail::ConvNdOptions<1> options;
  at::Tensor values, col_indices, row_offsets, key, bias;  ///< as in SparseLinear
  std::string activation = "none";                         ///< as in SparseLinear
};

class SparseConv1d : public torch::nn::ModuleHolder<SparseConv1dImpl> {
 public:
  using torch::nn::ModuleHolder<SparseConv1dImpl>::ModuleHolder;
  using Impl [[maybe_unused]] = SparseConv1dImpl;
  /// As SparseLinear::from_dense; `mask` has the shape of the weight.
  static SparseConv1d from_dense(const torch::nn::Conv1dImpl& dense, const std::string& layout = "csr",
                                 const std::optional<at::Tensor>& mask = std::nullopt);
  static SparseConv1d from_dense(const torch::nn::Conv1d& dense, const std::string& layout = "csr",
                                 const std::optional<at::Tensor>& mask = std::nullopt) {
    return from_dense(*dense, layout, mask);
  }
};

/// Masks of several weights by their names in the dense module ("weight_hh_l0"): non-zero = kept. Without one the zeros of a
/// weight are its mask.
using Masks = std::map<std::string, at::Tensor>;

/// The weights of a module that has several, in the order of the dense module's: each is a child, in layout csr or dense.
struct Matrices {
  std::vector<std::string> names;
  std::vector<Linear> matrices;

  /// Kept entries of all matrices; of those that are dense all entries.
  int64_t nnz() const;
};

/// torch::nn::LSTM with weights in layout csr, trainable at the kept entries: the same inputs, states and options.
class SparseLSTMImpl : public torch::nn::Cloneable<SparseLSTMImpl>, public Explained, public Matrices {
 public:
  SparseLSTMImpl(int64_t input_size, int64_t hidden_size) : SparseLSTMImpl(torch::nn::LSTMOptions(input_size, hidden_size)) {}
  /// No entry kept: a place to load into.
  explicit SparseLSTMImpl(const torch::nn::LSTMOptions& options);

  void reset() override;
  void pretty_print(std::ostream& stream) const override;

  /// input [steps, n, input_size], [n, steps, input_size] with batch_first, or one sequence [steps, input_size]; states
  /// [layers x directions, n, ...], or without n for one sequence. Returns (output, (h, c)). Throws c10::ValueError.
  std::tuple<at::Tensor, std::tuple<at::Tensor, at::Tensor>> forward(
      const at::Tensor& input, std::optional<std::tuple<at::Tensor, at::Tensor>> state = std::nullopt);
  std::tuple<torch::nn::utils::rnn::PackedSequence, std::tuple<at::Tensor, at::Tensor>> forward_with_packed_input(
      const torch::nn::utils::rnn::PackedSequence& input,
      const std::optional<std::tuple<at::Tensor, at::Tensor>>& state = std::nullopt);
  /// A torch::nn::LSTM with equal outputs; what was pruned is zero. Nothing is shared.
  torch::nn::LSTM to_dense() const;

  torch::nn::LSTMOptions options;

 protected:
  FORWARD_HAS_DEFAULT_ARGS({1, torch::nn::AnyValue(std::optional<std::tuple<at::Tensor, at::Tensor>>())})
};

class SparseLSTM : public torch::nn::ModuleHolder<SparseLSTMImpl> {
 public:
  using torch::nn::ModuleHolder<SparseLSTMImpl>::ModuleHolder;
  using Impl [[maybe_unused]] = SparseLSTMImpl;
  /// As SparseLinear::from_dense. `stay_dense`: names of weights that are not pruned, which run faster dense.
  static SparseLSTM from_dense(const torch::nn::LSTMImpl& dense, const std::string& layout = "csr", const Masks& masks = {},
                               const std::set<std::string>& stay_dense = {});
  static SparseLSTM from_dense(const torch::nn::LSTM& dense, const std::string& layout = "csr", const Masks& masks = {},
                               const std::set<std::string>& stay_dense = {}) {
    return from_dense(*dense, layout, masks, stay_dense);
  }
};

/// torch::nn::GRU with weights in layout csr; as SparseLSTM.
class SparseGRUImpl : public torch::nn::Cloneable<SparseGRUImpl>, public Explained, public Matrices {
 public:
  SparseGRUImpl(int64_t input_size, int64_t hidden_size) : SparseGRUImpl(torch::nn::GRUOptions(input_size, hidden_size)) {}
  explicit SparseGRUImpl(const torch::nn::GRUOptions& options);

  void reset() override;
  void pretty_print(std::ostream& stream) const override;

  /// Returns (output, h).
  std::tuple<at::Tensor, at::Tensor> forward(const at::Tensor& input, at::Tensor state = {});
  std::tuple<torch::nn::utils::rnn::PackedSequence, at::Tensor> forward_with_packed_input(
      const torch::nn::utils::rnn::PackedSequence& input, const at::Tensor& state = {});
  torch::nn::GRU to_dense() const;

  torch::nn::GRUOptions options;

 protected:
  FORWARD_HAS_DEFAULT_ARGS({1, torch::nn::AnyValue(at::Tensor())})
};

class SparseGRU : public torch::nn::ModuleHolder<SparseGRUImpl> {
 public:
  using torch::nn::ModuleHolder<SparseGRUImpl>::ModuleHolder;
  using Impl [[maybe_unused]] = SparseGRUImpl;
  static SparseGRU from_dense(const torch::nn::GRUImpl& dense, const std::string& layout = "csr", const Masks& masks = {},
                              const std::set<std::string>& stay_dense = {});
  static SparseGRU from_dense(const torch::nn::GRU& dense, const std::string& layout = "csr", const Masks& masks = {},
                              const std::set<std::string>& stay_dense = {}) {
    return from_dense(*dense, layout, masks, stay_dense);
  }
};

}  // namespace jouleprune::nn
