// SparseConv2d: convolution whose weight is a csr matrix of one row per output channel.
#include <jouleprune/nn.h>
#include <jouleprune/ops.h>
#include <jouleprune/value_errors.h>

#include <ostream>

#include "nn/csr_members.h"

namespace jouleprune::nn {

SparseConv2dImpl::SparseConv2dImpl(const torch::nn::Conv2dOptions& options_) : SparseConv2dImpl(conv_options<2>(options_)) {}

SparseConv2dImpl::SparseConv2dImpl(torch::nn::detail::ConvNdOptions<2> options_) : options(std::move(options_)) {
  check_conv("SparseConv2d", options);
  start_empty(*this, options.out_channels(), conv_cols(options), options.bias());
  reset();
}

void SparseConv2dImpl::reset() { register_members(*this, options.bias()); }

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
  stream << std::boolalpha << ", bias=" << options.bias() << ", layout=csr, nnz=" << nnz()
         << ", density=" << static_cast<double>(nnz()) / elements << (activation == "none" ? "" : ", activation=" + activation)
         << ')';
}

void SparseConv2dImpl::load(torch::serialize::InputArchive& archive) {
  load_members("SparseConv2d::load", *this, archive, options.out_channels(), conv_cols(options), options.bias());
}

void SparseConv2dImpl::to(torch::Device device, torch::Dtype dtype, bool non_blocking) {
  move_tensors(*this, device, dtype, non_blocking);
}

void SparseConv2dImpl::to(torch::Dtype dtype, bool non_blocking) { move_tensors(*this, std::nullopt, dtype, non_blocking); }

void SparseConv2dImpl::to(torch::Device device, bool non_blocking) {
  move_tensors(*this, device, std::nullopt, non_blocking);
}

at::Tensor SparseConv2dImpl::forward(const at::Tensor& input, const at::Tensor& residual) {
  TORCH_CHECK_VALUE(input.dim() == 3 || input.dim() == 4, "SparseConv2d: input: expected [n, ", options.in_channels(),
                    ", h, w] or [", options.in_channels(), ", h, w], got ", input.sizes());
  const bool batched = input.dim() == 4;
  std::optional<at::Tensor> added;
  if (residual.defined()) added = batched ? residual : residual.unsqueeze(0);
  const auto output = conv2d_csr(batched ? input : input.unsqueeze(0), values, col_indices, row_offsets, key,
                                 /*prepacked=*/std::nullopt, bias.defined() ? std::make_optional(bias) : std::nullopt,
                                 options.in_channels(), *options.kernel_size(), *options.stride(), *zero_padding(options),
                                 *options.dilation(), options.groups(), activation, added);
  return batched ? output : output.squeeze(0);
}

void SparseConv2dImpl::scale_rows(const at::Tensor& scale, const at::Tensor& shift) {
  scale_members("SparseConv2d::scale_rows", *this, parameters_["bias"], scale, shift);
  options.bias(true);
}

at::Tensor SparseConv2dImpl::to_dense() const {
  return unpack_csr(values, col_indices, row_offsets, conv_cols(options))
      .view({options.out_channels(), options.in_channels() / options.groups(), (*options.kernel_size())[0],
             (*options.kernel_size())[1]});
}

SparseConv2d SparseConv2d::from_dense(const torch::nn::Conv2dImpl& dense, const std::string& layout,
                                      const std::optional<at::Tensor>& mask) {
  TORCH_CHECK_VALUE(dense.weight.defined() && dense.weight.dim() == 4,
                    "SparseConv2d::from_dense: weight: expected 4 dimensions, got ",
                    dense.weight.defined() ? dense.weight.sizes() : at::IntArrayRef{});
  SparseConv2d made(dense.options);  // refuses what has no kernel before anything is packed
  take_dense(*made, pack("SparseConv2d::from_dense", dense.weight, layout, mask), dense);
  return made;
}

}  // namespace jouleprune::nn
