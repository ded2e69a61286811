// SparseConv2d: convolution whose weight is a matrix of one row per output channel, in layout csr or in int8.
#include <jouleprune/nn.h>
#include <jouleprune/ops.h>
#include <jouleprune/value_errors.h>

#include <algorithm>
#include <ostream>

#include "nn/conv_quads.h"
#include "nn/csr_members.h"
#include "nn/int8_members.h"

namespace jouleprune::nn {
namespace {

constexpr const char* kLoadConv = "SparseConv2d::load";
constexpr const char* kFromDense = "SparseConv2d::from_dense";

int64_t channels_of(const SparseConv2dImpl& layer) { return layer.options.in_channels() / layer.options.groups(); }

/// Columns of the weight in int8: entries of quads.
int64_t int8_cols(const SparseConv2dImpl& layer) {
  const auto& kernel = *layer.options.kernel_size();
  return kernel[0] * kernel[1] * kernels::bsr_int8::quads_of(channels_of(layer)) * kernels::bsr_int8::kQuad;
}

at::Tensor convolve_int8(const SparseConv2dImpl& layer, const at::Tensor& input) {
  const auto& conv = layer.options;
  return conv2d_bsr_int8(input, layer.blocks, layer.block_columns, layer.block_row_offsets, layer.key, layer.scales, layer.input_scale,
                         /*prepacked=*/std::nullopt, layer.bias.defined() ? std::make_optional(layer.bias) : std::nullopt,
                         conv.in_channels(), *conv.kernel_size(), *conv.stride(), *zero_padding(conv), *conv.dilation(), conv.groups(),
                         layer.activation);
}

/// Runs the op on an empty batch: computes nothing, but throws what it has against these tensors.
void probe(const SparseConv2dImpl& layer) {
  SparseConv2dImpl host(layer.options, "int8");
  for (const auto& [name, member] : int8_tensors<SparseConv2dImpl>()) host.*member = (layer.*member).detach().cpu();
  std::vector<int64_t> sizes = {0, layer.options.in_channels()};
  for (size_t i = 0; i < 2; ++i) sizes.push_back((*layer.options.dilation())[i] * ((*layer.options.kernel_size())[i] - 1) + 1);
  const at::NoGradGuard no_grad;
  convolve_int8(host, at::empty(sizes));
}

/// PatternError for what a convolution cannot be packed as.
void check_packing(const PackOptions& options) {
  if (!options.dtype.empty() && options.dtype != "int8") {
    throw PatternError(std::string(kFromDense) + ": dtype: expected \"\" or \"int8\", got \"" + options.dtype + "\"");
  }
  const std::string layout = options.dtype.empty() ? "csr" : "bsr";
  if (!options.layout.empty() && options.layout != layout) {
    throw PatternError(std::string(kFromDense) + ": layout: expected one of " + layout + ", got \"" + options.layout + "\"");
  }
  if (options.block_size.has_value() && (options.dtype.empty() || *options.block_size != BlockSize{1, 4})) {
    const auto [r, c] = *options.block_size;
    throw PatternError(std::string(kFromDense) + ": block_size: expected none, or of int8 1 x 4, got " + std::to_string(r) + " x " +
                       std::to_string(c));
  }
}

}  // namespace

SparseConv2dImpl::SparseConv2dImpl(const torch::nn::Conv2dOptions& options_) : SparseConv2dImpl(conv_options<2>(options_)) {}

SparseConv2dImpl::SparseConv2dImpl(torch::nn::detail::ConvNdOptions<2> options_, std::string dtype_)
    : options(std::move(options_)), dtype(std::move(dtype_)) {
  check_conv("SparseConv2d", options);
  if (is_int8()) {
    start_empty_int8(*this, options.out_channels(), int8_cols(*this) / kernels::bsr_int8::kQuad);
    if (options.bias()) bias = at::zeros({options.out_channels()});
  } else if (dtype.empty()) {
    start_empty(*this, options.out_channels(), conv_cols(options), options.bias());
  } else {
    throw PatternError("SparseConv2d: dtype: expected \"\" or \"int8\", got \"" + dtype + "\"");
  }
  reset();
}

void SparseConv2dImpl::reset() { is_int8() ? register_int8(*this, options.bias()) : register_members(*this, options.bias()); }

void SparseConv2dImpl::pretty_print(std::ostream& stream) const {
  const auto elements = static_cast<double>(options.out_channels()) * static_cast<double>(conv_cols(options));
  stream << "jouleprune::nn::SparseConv2d(" << options.in_channels() << ", " << options.out_channels()
         << ", kernel_size=" << options.kernel_size() << ", stride=" << options.stride();
  const auto padding = *zero_padding(options);
  if (padding[0] != 0 || padding[1] != 0) {
    stream << ", padding=[" << padding[0] << ", " << padding[1] << ']';
  }
  if (*options.dilation() != *torch::ExpandingArray<2>(1)) {
    stream << ", dilation=" << options.dilation();
  }
  if (options.groups() != 1) {
    stream << ", groups=" << options.groups();
  }
  stream << std::boolalpha << ", bias=" << options.bias() << ", layout=" << (is_int8() ? "bsr, dtype=int8" : "csr") << ", nnz=" << nnz()
         << ", density=" << std::min(1.0, static_cast<double>(nnz()) / elements) << (activation == "none" ? "" : ", activation=" + activation)
         << ')';
}

void SparseConv2dImpl::load(torch::serialize::InputArchive& archive) {
  at::Tensor found;
  SparseConv2dImpl read(options, archive.try_read("blocks", found) ? "int8" : "");
  if (read.is_int8()) {
    const at::NoGradGuard no_grad;
    read_int8(kLoadConv, read, archive);
    probe(read);
    read.bias = read_bias(kLoadConv, archive, options.out_channels(), options.bias());
  } else {
    load_members(kLoadConv, read, archive, options.out_channels(), conv_cols(options), options.bias());
  }
  take_over(read);
}

void SparseConv2dImpl::take_over(SparseConv2dImpl& other) {
  if (dtype != other.dtype) {
    drop_registered(*this);
    values = col_indices = row_offsets = blocks = block_columns = block_row_offsets = scales = input_scale = at::Tensor();
    dtype = other.dtype;
    values = other.values, col_indices = other.col_indices, row_offsets = other.row_offsets, key = other.key, bias = other.bias;
    for (const auto& [name, member] : int8_tensors<SparseConv2dImpl>()) this->*member = other.*member;
    reset();
    return;
  }
  if (is_int8()) {  // buffers stay the same objects, as parameters do
    for (const auto& [name, member] : int8_tensors<SparseConv2dImpl>()) assign_parameter(this->*member, other.*member);
  } else {
    assign_members(*this, {other.values, other.col_indices, other.row_offsets, other.key});
  }
  if (options.bias()) assign_parameter(bias, other.bias);
}

void SparseConv2dImpl::to(torch::Device device, torch::Dtype target, bool non_blocking) {
  move_tensors(*this, device, is_int8() ? std::nullopt : std::make_optional(target), non_blocking);
}

void SparseConv2dImpl::to(torch::Dtype target, bool non_blocking) {
  move_tensors(*this, std::nullopt, is_int8() ? std::nullopt : std::make_optional(target), non_blocking);
}

void SparseConv2dImpl::to(torch::Device device, bool non_blocking) {
  move_tensors(*this, device, std::nullopt, non_blocking);
}

at::Tensor SparseConv2dImpl::forward(const at::Tensor& input, const at::Tensor& residual) {
  TORCH_CHECK_VALUE(input.dim() == 3 || input.dim() == 4, "SparseConv2d: input: expected [n, ", options.in_channels(),
                    ", h, w] or [", options.in_channels(), ", h, w], got ", input.sizes());
  const bool batched = input.dim() == 4;
  if (is_int8()) {
    TORCH_CHECK_VALUE(!residual.defined(), "SparseConv2d: residual: expected none for dtype int8, or a layer in layout csr");
    const auto output = convolve_int8(*this, batched ? input : input.unsqueeze(0));
    return batched ? output : output.squeeze(0);
  }
  std::optional<at::Tensor> added;
  if (residual.defined()) added = batched ? residual : residual.unsqueeze(0);
  const auto output = conv2d_csr(batched ? input : input.unsqueeze(0), values, col_indices, row_offsets, key,
                                 /*prepacked=*/std::nullopt, bias.defined() ? std::make_optional(bias) : std::nullopt,
                                 options.in_channels(), *options.kernel_size(), *options.stride(), *zero_padding(options),
                                 *options.dilation(), options.groups(), activation, added);
  return batched ? output : output.squeeze(0);
}

void SparseConv2dImpl::scale_rows(const at::Tensor& scale, const at::Tensor& shift) {
  constexpr const char* op = "SparseConv2d::scale_rows";
  if (is_int8()) {
    scale_int8(op, *this, scale, shift);
  } else {
    scale_members(op, *this, parameters_["bias"], scale, shift);
  }
  options.bias(true);
}

void SparseConv2dImpl::fix_input_scale(std::optional<double> scale) {
  constexpr const char* op = "SparseConv2d::fix_input_scale";
  TORCH_CHECK_VALUE(is_int8(), op, ": expected a layer with dtype \"int8\", got layout csr of ", values.scalar_type());
  fix_int8_input_scale(op, *this, scale);
}

at::Tensor SparseConv2dImpl::to_dense() const {
  const auto& kernel = *options.kernel_size();
  if (is_int8()) {
    return taps_last(unpack_bsr_int8(blocks, block_columns, block_row_offsets, scales, int8_cols(*this)),
                     {options.out_channels(), channels_of(*this), kernel[0], kernel[1]});
  }
  return unpack_csr(values, col_indices, row_offsets, conv_cols(options))
      .view({options.out_channels(), channels_of(*this), kernel[0], kernel[1]});
}

SparseConv2d SparseConv2d::pack(const at::Tensor& weight, const at::Tensor& bias, const torch::nn::detail::ConvNdOptions<2>& conv,
                                const PackOptions& options) {
  TORCH_CHECK_VALUE(weight.defined() && weight.dim() == 4, kFromDense, ": weight: expected 4 dimensions, got ",
                    weight.defined() ? weight.sizes() : at::IntArrayRef{});
  check_packing(options);
  SparseConv2d made(conv, options.dtype);  // refuses what has no kernel before anything is packed
  if (!made->is_int8()) {
    assign_members(*made, nn::pack(kFromDense, weight, "csr", options.mask));
    made->values.set_requires_grad(weight.requires_grad());
    if (bias.defined()) {
      assign_parameter(made->bias, bias.detach().clone());
      made->bias.set_requires_grad(bias.requires_grad());
    }
    return made;
  }
  const at::NoGradGuard no_grad;
  auto mask = kept_entries(kFromDense, weight, options.mask);
  if (mask.has_value()) mask = taps_first(*mask);
  SparseConv2dImpl packed(conv, options.dtype);
  pack_int8(packed, taps_first(weight.detach()), mask);
  if (bias.defined()) packed.bias = bias.detach().to(at::kFloat).clone();
  made->take_over(packed);
  return made;
}

SparseConv2d SparseConv2d::from_dense(const torch::nn::Conv2dImpl& dense, const PackOptions& options) {
  auto made = pack(dense.weight, dense.bias, dense.options, options);
  made->train(dense.is_training());
  return made;
}

}  // namespace jouleprune::nn
