// The tensors of a csr weight inside a module: made, checked, read from an archive, moved between devices and dtypes.
#pragma once
#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>
#include <torch/nn/options/conv.h>
#include <torch/serialize/archive.h>

#include <array>
#include <optional>
#include <string>
#include <variant>

namespace jouleprune::nn {

/// Weight seen as a matrix [rows, cols].
struct CsrWeight {
  at::Tensor values;       // [nnz]
  at::Tensor col_indices;  // [nnz], int32
  at::Tensor row_offsets;  // [rows + 1], int32
  at::Tensor key;          // [2], int64
};

/// No entry kept.
CsrWeight empty_csr(int64_t rows, int64_t cols);

/// A mask as bool on the weight's device, of its shape; nothing when there is none. Throws c10::ValueError for another shape.
std::optional<at::Tensor> kept_entries(const std::string& op, const at::Tensor& weight, const std::optional<at::Tensor>& mask);

/// Throws PatternError for another layout than csr.
void check_csr(const std::string& op, const std::string& layout);

/// Packs `weight` (any shape; dim 0 are the rows). `op` opens error messages. Throws PatternError on an unknown layout.
CsrWeight pack(const std::string& op, const at::Tensor& weight, const std::string& layout,
               const std::optional<at::Tensor>& mask);

/// Reads the four tensors of an archive. Throws c10::ValueError when sizes, dtypes, structure or key are unsound.
CsrWeight read_csr(const std::string& op, torch::serialize::InputArchive& archive, int64_t rows, int64_t cols);

/// Reads "bias" [rows]; undefined when `expected` is false and the archive has none. Throws c10::ValueError.
at::Tensor read_bias(const std::string& op, torch::serialize::InputArchive& archive, int64_t rows, bool expected);

/// Gives the registered tensors of `to` the contents of `from` (another number of kept entries is welcome).
void assign(CsrWeight to, const CsrWeight& from);
void assign_parameter(at::Tensor to, const at::Tensor& from);

/// Module::to for modules with indices: floating-point tensors change dtype, all change device.
void move_tensors(torch::nn::Module& module, std::optional<torch::Device> device, std::optional<torch::Dtype> dtype,
                  bool non_blocking);

/// Takes all parameters, buffers and children off a module.
void drop_registered(torch::nn::Module& module);

/// output + residual, which may be undefined: what a sparse layer's op does by itself. Throws c10::ValueError for other sizes.
at::Tensor dense_sum(const char* op, const at::Tensor& output, const at::Tensor& residual);

/// Symmetric zero padding that the options ask for; empty when no such padding does it (odd "same" padding).
std::optional<std::array<int64_t, 2>> zero_padding(const torch::nn::detail::ConvNdOptions<2>& options);
/// One sentence when the options have no sparse kernel, else empty.
std::string conv_obstacle(const torch::nn::detail::ConvNdOptions<2>& options);
/// Throws c10::ValueError for channels that groups do not divide, PatternError for what has no sparse kernel.
void check_conv(const std::string& module, const torch::nn::detail::ConvNdOptions<2>& options);

/// The options that a convolution module keeps, from those that it is made with.
template <size_t D>
torch::nn::detail::ConvNdOptions<D> conv_options(const torch::nn::ConvOptions<D>& options) {
  torch::nn::detail::ConvNdOptions<D> made(options.in_channels(), options.out_channels(), options.kernel_size());
  std::visit([&](const auto& padding) { made.padding(padding); }, options.padding());
  return made.stride(options.stride())
      .dilation(options.dilation())
      .groups(options.groups())
      .bias(options.bias())
      .padding_mode(options.padding_mode());
}

/// The 2-d convolution of height 1 that does the same.
torch::nn::detail::ConvNdOptions<2> of_height_1(const torch::nn::detail::ConvNdOptions<1>& options);

/// Taps of one row of the weight matrix: in_channels / groups x kernel height x kernel width.
int64_t conv_cols(const torch::nn::detail::ConvNdOptions<2>& options);

}  // namespace jouleprune::nn
