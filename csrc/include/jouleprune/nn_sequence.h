// Sparse modules for sequences: torch::nn::Conv1d, LSTM and GRU with pruned weights. State dict as in Python: the matrices of LSTM
// and GRU are children named as torch's weights, each with its bias: "weight_ih_l0.values", ..., "weight_ih_l0.bias".
// Conv1d, LSTM, GRU: torch's interface; dense until they switch, as Linear in nn.h.
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

  /// `residual`: of the output's sizes, added before the activation.
  at::Tensor forward(const at::Tensor& input, const at::Tensor& residual = {});
  /// Weight [out_channels, in_channels / groups, kernel size] with its zeros; differentiable in `values`.
  at::Tensor to_dense() const;
  int64_t nnz() const { return values.numel(); }
  /// As SparseLinear's, by output channels.
  void scale_rows(const at::Tensor& scale, const at::Tensor& shift);

  torch::nn::detail::ConvNdOptions<1> options;
  at::Tensor values, col_indices, row_offsets, key, bias;  ///< as in SparseLinear
  std::string activation = "none";                         ///< as in SparseLinear

 protected:
  FORWARD_HAS_DEFAULT_ARGS({1, torch::nn::AnyValue(at::Tensor())})
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

/// torch::nn::Conv1d that can switch to sparse in place.
class Conv1dImpl : public SwitchableConvImpl<1, Conv1dImpl, SparseConv1d> {
 public:
  Conv1dImpl(int64_t in_channels, int64_t out_channels, torch::ExpandingArray<1> kernel_size)
      : Conv1dImpl(torch::nn::Conv1dOptions(in_channels, out_channels, kernel_size)) {}
  explicit Conv1dImpl(const torch::nn::Conv1dOptions& options) : SwitchableConvImpl(options) {}
};
extern template class SwitchableConvImpl<1, Conv1dImpl, SparseConv1d>;
TORCH_MODULE(Conv1d);

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

/// A module of several weights that can switch to sparse in place: LSTM, GRU, MultiheadAttention. Parameters are torch's while it is
/// dense, and the sparse module's after the switch. Loading an archive of a sparse module switches too. `Dense`, `Sparse`: holders of
/// torch's module and of ours.
template <class Derived, class Dense, class Sparse>
class SwitchableImpl : public torch::nn::Cloneable<Derived>, public Explained {
 public:
  using Options = decltype(Dense::Impl::options);
  explicit SwitchableImpl(const Options& options);

  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  void load(torch::serialize::InputArchive& archive) override;
  void train(bool on = true) override;
  void to(torch::Device device, torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Device device, bool non_blocking = false) override;

  bool is_sparse() const { return sparse_ != nullptr; }
  /// Entries of the weights that are kept; of those that are dense all.
  int64_t nnz() const;
  /// As Sparse::from_dense. Throws as that, and c10::ValueError when it runs sparse already.
  void switch_to_sparse(const std::string& layout = "csr", const Masks& masks = {}, const std::set<std::string>& stay_dense = {});
  /// Back to dense, trainable weights.
  void switch_to_dense();
  /// torch's module with equal outputs; what was pruned is zero. Nothing is shared.
  Dense to_dense() const;
  /// The module that runs inside, or nullptr; its tensors are this module's.
  const std::shared_ptr<typename Dense::Impl>& dense() const { return dense_; }
  const std::shared_ptr<typename Sparse::Impl>& sparse() const { return sparse_; }

  Options options;

 private:
  std::string name_of(const char* member) const;
  template <class Inner>
  void adopt(const std::shared_ptr<Inner>& inner);
  void own(Dense dense);
  void own(Sparse sparse);
  void flatten();
  std::shared_ptr<typename Dense::Impl> dense_;
  std::shared_ptr<typename Sparse::Impl> sparse_;
};

/// torch::nn::LSTM that can switch to sparse in place.
class LSTMImpl : public SwitchableImpl<LSTMImpl, torch::nn::LSTM, SparseLSTM> {
 public:
  LSTMImpl(int64_t input_size, int64_t hidden_size) : LSTMImpl(torch::nn::LSTMOptions(input_size, hidden_size)) {}
  explicit LSTMImpl(const torch::nn::LSTMOptions& options) : SwitchableImpl(options) {}
  using State = std::optional<std::tuple<at::Tensor, at::Tensor>>;
  std::tuple<at::Tensor, std::tuple<at::Tensor, at::Tensor>> forward(const at::Tensor& input, State state = {});
  std::tuple<torch::nn::utils::rnn::PackedSequence, std::tuple<at::Tensor, at::Tensor>> forward_with_packed_input(
      const torch::nn::utils::rnn::PackedSequence& input, State state = {});

 protected:
  FORWARD_HAS_DEFAULT_ARGS({1, torch::nn::AnyValue(std::optional<std::tuple<at::Tensor, at::Tensor>>())})
};
extern template class SwitchableImpl<LSTMImpl, torch::nn::LSTM, SparseLSTM>;
TORCH_MODULE(LSTM);

/// torch::nn::GRU that can switch to sparse in place.
class GRUImpl : public SwitchableImpl<GRUImpl, torch::nn::GRU, SparseGRU> {
 public:
  GRUImpl(int64_t input_size, int64_t hidden_size) : GRUImpl(torch::nn::GRUOptions(input_size, hidden_size)) {}
  explicit GRUImpl(const torch::nn::GRUOptions& options) : SwitchableImpl(options) {}
  std::tuple<at::Tensor, at::Tensor> forward(const at::Tensor& input, at::Tensor state = {});
  std::tuple<torch::nn::utils::rnn::PackedSequence, at::Tensor> forward_with_packed_input(
      const torch::nn::utils::rnn::PackedSequence& input, at::Tensor state = {});

 protected:
  FORWARD_HAS_DEFAULT_ARGS({1, torch::nn::AnyValue(at::Tensor())})
};
extern template class SwitchableImpl<GRUImpl, torch::nn::GRU, SparseGRU>;
TORCH_MODULE(GRU);

}  // namespace jouleprune::nn
