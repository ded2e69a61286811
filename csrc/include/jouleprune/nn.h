// torch::nn modules with sparse weights. State dict as in Python: values, col_indices, row_offsets, key, bias.
//
// SparseLinear, SparseConv2d: always sparse; made from a dense layer. Linear, Conv2d: the interface of torch::nn's; they start
// dense, are pruned in place and switch to sparse at convert(): for structs that hold a layer as a typed member, which a
// replaced child would not reach.
#pragma once
#include <ATen/core/Tensor.h>
#include <torch/nn/cloneable.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include <array>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace jouleprune {

/// What convert() did with one layer, and why. Seconds per forward pass on this machine; empty where nothing was timed.
struct Decision {
  std::string name;    ///< layer
  std::string weight;  ///< parameter, as it was called while dense
  std::string layout = "dense", kernel = "dense";
  double density = 1;
  std::string reason;  ///< one sentence
  std::optional<double> dense_s, sparse_s;
};

namespace nn {

/// Decisions of the convert() that made or switched a layer: explain() finds them there. Copies share them.
struct Explained {
  std::shared_ptr<const std::vector<Decision>> decisions;
};

/// Layer sizes, and nothing else: a csr layer is as large as what was packed or is loaded into it.
struct SparseLinearOptions {
  SparseLinearOptions(int64_t in_features, int64_t out_features, bool bias = true)
      : in_features(in_features), out_features(out_features), bias(bias) {}
  int64_t in_features, out_features;
  bool bias;
};

/// y = x W^T + b with W in layout csr. Trainable at the kept entries.
class SparseLinearImpl : public torch::nn::Cloneable<SparseLinearImpl>, public Explained {
 public:
  /// No entry kept: a place to load into (torch::load accepts any number of kept entries).
  SparseLinearImpl(int64_t in_features, int64_t out_features)
      : SparseLinearImpl(SparseLinearOptions(in_features, out_features)) {}
  explicit SparseLinearImpl(SparseLinearOptions options);

  /// Registers own copies of the present values and structure: a pruned layer has no fresh initialisation to go back to.
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  /// Checks sizes and structure before anything changes. Throws c10::ValueError.
  void load(torch::serialize::InputArchive& archive) override;
  /// Converts floating-point tensors only: indices stay int32.
  void to(torch::Device device, torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Device device, bool non_blocking = false) override;

  /// input [..., in_features] -> [..., out_features]
  at::Tensor forward(const at::Tensor& input);
  /// Weight [out_features, in_features] with its zeros; differentiable in `values`.
  at::Tensor to_dense() const;
  int64_t nnz() const { return values.numel(); }

  SparseLinearOptions options;
  at::Tensor values;       ///< [nnz], parameter
  at::Tensor col_indices;  ///< [nnz], int32
  at::Tensor row_offsets;  ///< [out_features + 1], int32
  at::Tensor key;          ///< [2], int64
  at::Tensor bias;         ///< [out_features] or undefined
};

class SparseLinear : public torch::nn::ModuleHolder<SparseLinearImpl> {
 public:
  using torch::nn::ModuleHolder<SparseLinearImpl>::ModuleHolder;
  using Impl [[maybe_unused]] = SparseLinearImpl;
  /// `layout`: "csr". `mask` [out_features, in_features]: non-zero = kept; without one the zeros of the weight are the mask.
  /// The new layer shares nothing with `dense`. Throws PatternError (unknown layout), c10::ValueError (mask of another shape).
  static SparseLinear from_dense(const torch::nn::LinearImpl& dense, const std::string& layout = "csr",
                                 const std::optional<at::Tensor>& mask = std::nullopt);
  static SparseLinear from_dense(const torch::nn::Linear& dense, const std::string& layout = "csr",
                                 const std::optional<at::Tensor>& mask = std::nullopt) {
    return from_dense(*dense, layout, mask);
  }
};

/// Convolution with its weight [out_channels, in_channels / groups x kernel taps] in layout csr. Trainable at the kept entries.
/// `options` are torch's; padding_mode must be zeros, and "same" padding must be symmetric.
class SparseConv2dImpl : public torch::nn::Cloneable<SparseConv2dImpl>, public Explained {
 public:
  SparseConv2dImpl(int64_t in_channels, int64_t out_channels, torch::ExpandingArray<2> kernel_size)
      : SparseConv2dImpl(torch::nn::Conv2dOptions(in_channels, out_channels, kernel_size)) {}
  explicit SparseConv2dImpl(const torch::nn::Conv2dOptions& options);
  /// No entry kept: a place to load into. Throws PatternError when the options have no sparse kernel.
  explicit SparseConv2dImpl(torch::nn::detail::ConvNdOptions<2> options);

  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  void load(torch::serialize::InputArchive& archive) override;
  void to(torch::Device device, torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Device device, bool non_blocking = false) override;

  /// input [n, in_channels, h, w] or [in_channels, h, w]
  at::Tensor forward(const at::Tensor& input);
  /// Weight [out_channels, in_channels / groups, kernel height, kernel width] with its zeros; differentiable in `values`.
  at::Tensor to_dense() const;
  int64_t nnz() const { return values.numel(); }

  torch::nn::detail::ConvNdOptions<2> options;
  at::Tensor values, col_indices, row_offsets, key, bias;  ///< as in SparseLinear
};

class SparseConv2d : public torch::nn::ModuleHolder<SparseConv2dImpl> {
 public:
  using torch::nn::ModuleHolder<SparseConv2dImpl>::ModuleHolder;
  using Impl [[maybe_unused]] = SparseConv2dImpl;
  /// As SparseLinear::from_dense; `mask` has the shape of the weight.
  static SparseConv2d from_dense(const torch::nn::Conv2dImpl& dense, const std::string& layout = "csr",
                                 const std::optional<at::Tensor>& mask = std::nullopt);
  static SparseConv2d from_dense(const torch::nn::Conv2d& dense, const std::string& layout = "csr",
                                 const std::optional<at::Tensor>& mask = std::nullopt) {
    return from_dense(*dense, layout, mask);
  }
};

/// torch::nn::Linear that can switch to sparse in place. After the switch `weight` is undefined and the state dict is
/// SparseLinear's. Loading an archive of a sparse layer switches too.
class LinearImpl : public torch::nn::Cloneable<LinearImpl>, public Explained {
 public:
  LinearImpl(int64_t in_features, int64_t out_features) : LinearImpl(torch::nn::LinearOptions(in_features, out_features)) {}
  explicit LinearImpl(const torch::nn::LinearOptions& options);

  void reset() override;
  /// As torch::nn::Linear draws them; c10::ValueError once sparse.
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;
  void load(torch::serialize::InputArchive& archive) override;
  void to(torch::Device device, torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Device device, bool non_blocking = false) override;

  at::Tensor forward(const at::Tensor& input);
  /// The weight with its zeros, dense or sparse.
  at::Tensor to_dense() const;
  bool is_sparse() const { return sparse_ != nullptr; }
  /// Keeps the entries where `mask` is non-zero (without one: where the weight is not zero). Throws as SparseLinear::from_dense.
  void switch_to_sparse(const std::string& layout = "csr", const std::optional<at::Tensor>& mask = std::nullopt);
  /// Back to a dense, trainable weight.
  void switch_to_dense();
  /// The sparse layer that runs inside, or nullptr; its tensors are this module's parameters and buffers.
  const std::shared_ptr<SparseLinearImpl>& sparse() const { return sparse_; }

  torch::nn::LinearOptions options;
  at::Tensor weight, bias;

 private:
  void drop_tensors();
  void adopt_sparse(std::shared_ptr<SparseLinearImpl> sparse);
  std::shared_ptr<SparseLinearImpl> sparse_;
};
TORCH_MODULE(Linear);

/// torch::nn::Conv2d that can switch to sparse in place; see Linear.
class Conv2dImpl : public torch::nn::Cloneable<Conv2dImpl>, public Explained {
 public:
  Conv2dImpl(int64_t in_channels, int64_t out_channels, torch::ExpandingArray<2> kernel_size)
      : Conv2dImpl(torch::nn::Conv2dOptions(in_channels, out_channels, kernel_size)) {}
  explicit Conv2dImpl(const torch::nn::Conv2dOptions& options);

  void reset() override;
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;
  void load(torch::serialize::InputArchive& archive) override;
  void to(torch::Device device, torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Device device, bool non_blocking = false) override;

  at::Tensor forward(const at::Tensor& input);
  at::Tensor to_dense() const;
  bool is_sparse() const { return sparse_ != nullptr; }
  void switch_to_sparse(const std::string& layout = "csr", const std::optional<at::Tensor>& mask = std::nullopt);
  void switch_to_dense();
  const std::shared_ptr<SparseConv2dImpl>& sparse() const { return sparse_; }

  torch::nn::detail::ConvNdOptions<2> options;
  at::Tensor weight, bias;

 private:
  void drop_tensors();
  void adopt_sparse(std::shared_ptr<SparseConv2dImpl> sparse);
  std::shared_ptr<SparseConv2dImpl> sparse_;
};
TORCH_MODULE(Conv2d);

}  // namespace nn
}  // namespace jouleprune
