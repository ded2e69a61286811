// torch::nn modules with sparse weights. State dict as in Python: values, col_indices, row_offsets, key, bias in layout csr; other
// layouts have tensors of their own (docs/formats.md).
//
// SparseLinear, SparseConv2d: always sparse; made from a dense layer. Linear, Conv2d (and Conv1d, LSTM, GRU, MultiheadAttention in
// nn_sequence.h and nn_attention.h): the interface of torch::nn's; they start dense, are pruned in place and switch to sparse at
// convert(): for structs that hold a layer as a typed member, which a replaced child would not reach.
#pragma once
#include <ATen/core/Tensor.h>
#include <jouleprune/nn_common.h>
#include <torch/nn/cloneable.h>
#include <torch/nn/modules/common.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/pimpl.h>

#include <concepts>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>

namespace jouleprune {
namespace nn {

/// Layer sizes, and how the weight is kept. A layer is as large as what was packed or is loaded into it.
struct SparseLinearOptions {
  SparseLinearOptions(int64_t in_features, int64_t out_features, bool bias = true)
      : in_features(in_features), out_features(out_features), bias(bias) {}
  int64_t in_features, out_features;
  bool bias;
  std::string layout = "csr";      ///< "csr" or "bsr" ("vector" is bsr with blocks of {r, 1})
  BlockSize block_size = {1, 1};   ///< of layout bsr; {1, 4} with dtype "int8"
  std::string dtype{};             ///< "int8", or "" for values as they are
};

/// y = activation(x W^T + b) with a sparse W. Trainable at the kept entries (of bsr: in the kept blocks), but not with dtype "int8".
class SparseLinearImpl : public torch::nn::Cloneable<SparseLinearImpl>, public Explained {
 public:
  /// No entry kept: a place to load into (torch::load accepts any layout and any number of kept entries).
  SparseLinearImpl(int64_t in_features, int64_t out_features)
      : SparseLinearImpl(SparseLinearOptions(in_features, out_features)) {}
  /// Throws c10::ValueError for sizes below 0, PatternError for an unknown layout or dtype.
  explicit SparseLinearImpl(SparseLinearOptions options);

  /// Registers own copies of the present values and structure: a pruned layer has no fresh initialisation to go back to.
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  /// Takes the layout of the archive. Checks sizes and structure before anything changes. Throws c10::ValueError.
  void load(torch::serialize::InputArchive& archive) override;
  /// Converts floating-point values only: indices stay int32, and of an int8 layer everything keeps its dtype.
  void to(torch::Device device, torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Device device, bool non_blocking = false) override;

  /// input [..., in_features] -> [..., out_features]. `residual` [..., out_features] is added before the activation; in layout csr
  /// alone (c10::ValueError).
  at::Tensor forward(const at::Tensor& input, const at::Tensor& residual = {});
  /// Weight [out_features, in_features] with its zeros; differentiable in `values` or `blocks`. Of int8: what int8 holds, float32.
  at::Tensor to_dense() const;
  /// Kept entries; of bsr and int8 all entries of the kept blocks.
  int64_t nnz() const { return values.defined() ? values.numel() : blocks.numel(); }
  bool is_int8() const { return options.dtype == "int8"; }
  /// W becomes diag(scale) W and b becomes scale b + shift, both [out_features]: a batch norm behind the layer, folded into it. A layer
  /// without a bias gets one. Throws c10::ValueError for other sizes, or a layer neither in layout csr nor of dtype int8.
  void scale_rows(const at::Tensor& scale, const at::Tensor& shift);
  /// Of an int8 layer: rounds all inputs to multiples of `scale` (the largest magnitude expected / 127); without one each row of an
  /// input gets its own. Throws c10::ValueError for a scale that is not positive, or another layer.
  void fix_input_scale(std::optional<double> scale);

  SparseLinearOptions options;
  at::Tensor values;       ///< csr: [nnz], parameter
  at::Tensor col_indices;  ///< csr: [nnz], int32
  at::Tensor row_offsets;  ///< csr: [out_features + 1], int32
  at::Tensor blocks;             ///< bsr: [blocks, r, c], parameter; int8: [blocks, 1, 4], buffer
  at::Tensor block_columns;      ///< bsr, int8: [blocks], int32
  at::Tensor block_row_offsets;  ///< bsr: [ceil(out_features / r) + 1], int8: [out_features + 1], int32
  at::Tensor scales;             ///< int8: [out_features], float32
  at::Tensor input_scale;        ///< int8: [1], float32; 0: a scale per row of the input
  at::Tensor key;          ///< [2], int64
  at::Tensor bias;         ///< [out_features] or undefined; of int8 a buffer, float32
  std::string activation = "none";  ///< applied by the op: set by convert() with fuse = true, gone in to_dense()

 protected:
  FORWARD_HAS_DEFAULT_ARGS({1, torch::nn::AnyValue(at::Tensor())})

 private:
  friend class SparseLinear;
  void take_over(SparseLinearImpl& other);
};

class SparseLinear : public torch::nn::ModuleHolder<SparseLinearImpl> {
 public:
  using torch::nn::ModuleHolder<SparseLinearImpl>::ModuleHolder;
  using Impl [[maybe_unused]] = SparseLinearImpl;
  /// Of a weight [out_features, in_features] and a bias, which may be undefined. Throws as from_dense.
  static SparseLinear pack(const at::Tensor& weight, const at::Tensor& bias, const PackOptions& options);
  /// The new layer shares nothing with `dense`. Throws PatternError (unknown layout or dtype, a block size that does not belong to it,
  /// zeros that no known block size covers), c10::ValueError (mask of another shape).
  static SparseLinear from_dense(const torch::nn::LinearImpl& dense, const PackOptions& options);
  static SparseLinear from_dense(const torch::nn::Linear& dense, const PackOptions& options) { return from_dense(*dense, options); }
  /// Layouts "csr" and "bsr" by name.
  template <std::convertible_to<std::string> Layout>
  static SparseLinear from_dense(const torch::nn::LinearImpl& dense, const Layout& layout,
                                 const std::optional<at::Tensor>& mask = std::nullopt) {
    return from_dense(dense, PackOptions{.layout = layout, .mask = mask});
  }
  template <std::convertible_to<std::string> Layout>
  static SparseLinear from_dense(const torch::nn::Linear& dense, const Layout& layout,
                                 const std::optional<at::Tensor>& mask = std::nullopt) {
    return from_dense(*dense, layout, mask);
  }
  static SparseLinear from_dense(const torch::nn::LinearImpl& dense) { return from_dense(dense, PackOptions{}); }
  static SparseLinear from_dense(const torch::nn::Linear& dense) { return from_dense(*dense, PackOptions{}); }
};

/// Convolution with its weight [out_channels, in_channels / groups x kernel taps] in layout csr, trainable at the kept entries; or in
/// int8, for inference. `options` are torch's; padding_mode must be zeros, and "same" padding must be symmetric.
class SparseConv2dImpl : public torch::nn::Cloneable<SparseConv2dImpl>, public Explained {
 public:
  SparseConv2dImpl(int64_t in_channels, int64_t out_channels, torch::ExpandingArray<2> kernel_size)
      : SparseConv2dImpl(torch::nn::Conv2dOptions(in_channels, out_channels, kernel_size)) {}
  explicit SparseConv2dImpl(const torch::nn::Conv2dOptions& options);
  /// No entry kept: a place to load into, whatever the archive's dtype. Throws PatternError when the options have no sparse kernel, or
  /// for a dtype other than "" and "int8".
  explicit SparseConv2dImpl(torch::nn::detail::ConvNdOptions<2> options, std::string dtype = {});

  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  void load(torch::serialize::InputArchive& archive) override;
  void to(torch::Device device, torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Device device, bool non_blocking = false) override;

  /// input [n, in_channels, h, w] or [in_channels, h, w]. `residual`: of the output's sizes, added before the activation; not in int8.
  at::Tensor forward(const at::Tensor& input, const at::Tensor& residual = {});
  /// Weight [out_channels, in_channels / groups, kernel height, kernel width] with its zeros; differentiable in `values`. Of int8: what
  /// int8 holds, float32.
  at::Tensor to_dense() const;
  /// Kept entries; of int8 all entries of the kept blocks.
  int64_t nnz() const { return values.defined() ? values.numel() : blocks.numel(); }
  bool is_int8() const { return dtype == "int8"; }
  /// As SparseLinear's, by output channels; without a scale each image gets its own.
  void scale_rows(const at::Tensor& scale, const at::Tensor& shift);
  void fix_input_scale(std::optional<double> scale);

  torch::nn::detail::ConvNdOptions<2> options;
  std::string dtype;                                       ///< "int8", or "" for values as they are
  at::Tensor values, col_indices, row_offsets, key, bias;  ///< as in SparseLinear
  at::Tensor blocks, block_columns, block_row_offsets, scales, input_scale;  ///< int8: as in SparseLinear
  std::string activation = "none";                         ///< as in SparseLinear

 private:
  void take_over(SparseConv2dImpl& other);
  friend class SparseConv2d;

 protected:
  FORWARD_HAS_DEFAULT_ARGS({1, torch::nn::AnyValue(at::Tensor())})
};

class SparseConv2d : public torch::nn::ModuleHolder<SparseConv2dImpl> {
 public:
  using torch::nn::ModuleHolder<SparseConv2dImpl>::ModuleHolder;
  using Impl [[maybe_unused]] = SparseConv2dImpl;
  /// Of a weight [out_channels, in_channels / groups, kernel height, kernel width] and a bias, which may be undefined. Throws as
  /// from_dense.
  static SparseConv2d pack(const at::Tensor& weight, const at::Tensor& bias, const torch::nn::detail::ConvNdOptions<2>& conv,
                           const PackOptions& options);
  /// As SparseLinear::from_dense, in layout csr or of dtype int8; `mask` has the shape of the weight.
  static SparseConv2d from_dense(const torch::nn::Conv2dImpl& dense, const PackOptions& options);
  static SparseConv2d from_dense(const torch::nn::Conv2d& dense, const PackOptions& options) { return from_dense(*dense, options); }
  template <std::convertible_to<std::string> Layout>
  static SparseConv2d from_dense(const torch::nn::Conv2dImpl& dense, const Layout& layout,
                                 const std::optional<at::Tensor>& mask = std::nullopt) {
    return from_dense(dense, PackOptions{.layout = layout, .mask = mask});
  }
  template <std::convertible_to<std::string> Layout>
  static SparseConv2d from_dense(const torch::nn::Conv2d& dense, const Layout& layout,
                                 const std::optional<at::Tensor>& mask = std::nullopt) {
    return from_dense(*dense, layout, mask);
  }
  static SparseConv2d from_dense(const torch::nn::Conv2dImpl& dense) { return from_dense(dense, PackOptions{}); }
  static SparseConv2d from_dense(const torch::nn::Conv2d& dense) { return from_dense(*dense, PackOptions{}); }
};

/// torch::nn::Linear that can switch to sparse in place. After the switch `weight` is undefined and the state dict is
/// SparseLinear's. Loading an archive of a sparse layer switches too.
class LinearImpl : public torch::nn::Cloneable<LinearImpl>, public Explained {
 public:
  LinearImpl(int64_t in_features, int64_t out_features) : LinearImpl(torch::nn::LinearOptions(in_features, out_features)) {}
  explicit LinearImpl(const torch::nn::LinearOptions& options);
  /// Dense from the start, with these very tensors as parameters; `bias` may be undefined.
  LinearImpl(const at::Tensor& weight, const at::Tensor& bias);
  /// Sparse from the start, sharing the tensors of `made`.
  explicit LinearImpl(const SparseLinear& made);

  void reset() override;
  /// As torch::nn::Linear draws them; c10::ValueError once sparse.
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;
  void load(torch::serialize::InputArchive& archive) override;
  void to(torch::Device device, torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Device device, bool non_blocking = false) override;

  /// As SparseLinear's; dense, a residual is added to the product.
  at::Tensor forward(const at::Tensor& input, const at::Tensor& residual = {});
  /// The weight with its zeros, dense or sparse.
  at::Tensor to_dense() const;
  bool is_sparse() const { return sparse_ != nullptr; }
  /// Kept entries; while dense all of them.
  int64_t nnz() const { return sparse_ ? sparse_->nnz() : weight.numel(); }
  /// Keeps the entries where `mask` is non-zero (without one: where the weight is not zero). Throws as SparseLinear::from_dense.
  template <std::convertible_to<std::string> Layout>
  void switch_to_sparse(const Layout& layout, const std::optional<at::Tensor>& mask = std::nullopt) {
    switch_to_sparse(PackOptions{.layout = layout, .mask = mask});
  }
  void switch_to_sparse() { switch_to_sparse(PackOptions{}); }
  void switch_to_sparse(const PackOptions& options);
  /// The same with a layer that was packed from this one before; it shares its tensors.
  void switch_to_sparse(const SparseLinear& made);
  /// Back to a dense, trainable weight.
  void switch_to_dense();
  /// The sparse layer that runs inside, or nullptr; its tensors are this module's parameters and buffers.
  const std::shared_ptr<SparseLinearImpl>& sparse() const { return sparse_; }

  torch::nn::LinearOptions options;
  at::Tensor weight, bias;

 protected:
  FORWARD_HAS_DEFAULT_ARGS({1, torch::nn::AnyValue(at::Tensor())})

 private:
  void drop_tensors();
  void adopt_sparse(std::shared_ptr<SparseLinearImpl> sparse);
  std::shared_ptr<SparseLinearImpl> sparse_;
};
TORCH_MODULE(Linear);

/// torch::nn::Conv1d and Conv2d that can switch to sparse in place; see Linear. `Sparse`: SparseConv1d or SparseConv2d.
template <size_t D, class Derived, class Sparse>
class SwitchableConvImpl : public torch::nn::Cloneable<Derived>, public Explained {
 public:
  explicit SwitchableConvImpl(const torch::nn::ConvOptions<D>& options);

  void reset() override;
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;
  void load(torch::serialize::InputArchive& archive) override;
  void to(torch::Device device, torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Device device, bool non_blocking = false) override;

  at::Tensor forward(const at::Tensor& input, const at::Tensor& residual = {});
  at::Tensor to_dense() const;
  bool is_sparse() const { return sparse_ != nullptr; }
  template <std::convertible_to<std::string> Layout>
  void switch_to_sparse(const Layout& layout, const std::optional<at::Tensor>& mask = std::nullopt) {
    switch_to_layout(layout, mask);
  }
  void switch_to_sparse() { switch_to_layout("csr", std::nullopt); }
  /// With a layer that was packed from this one before; it shares its tensors.
  void switch_to_sparse(const Sparse& made);
  void switch_to_dense();
  const std::shared_ptr<typename Sparse::Impl>& sparse() const { return sparse_; }

  torch::nn::detail::ConvNdOptions<D> options;
  at::Tensor weight, bias;

 protected:
  FORWARD_HAS_DEFAULT_ARGS({1, torch::nn::AnyValue(at::Tensor())})

 private:
  std::string name_of(const char* member) const;
  void switch_to_layout(const std::string& layout, const std::optional<at::Tensor>& mask);
  void drop_tensors();
  void adopt_sparse(std::shared_ptr<typename Sparse::Impl> sparse);
  std::shared_ptr<typename Sparse::Impl> sparse_;
};

class Conv2dImpl : public SwitchableConvImpl<2, Conv2dImpl, SparseConv2d> {
 public:
  Conv2dImpl(int64_t in_channels, int64_t out_channels, torch::ExpandingArray<2> kernel_size)
      : Conv2dImpl(torch::nn::Conv2dOptions(in_channels, out_channels, kernel_size)) {}
  explicit Conv2dImpl(const torch::nn::Conv2dOptions& options) : SwitchableConvImpl(options) {}
  using SwitchableConvImpl::switch_to_sparse;
  /// In layout csr or of dtype int8.
  void switch_to_sparse(const PackOptions& options);
};
extern template class SwitchableConvImpl<2, Conv2dImpl, SparseConv2d>;
TORCH_MODULE(Conv2d);

}  // namespace nn
}  // namespace jouleprune
