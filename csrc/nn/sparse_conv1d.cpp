// SparseConv1d: a 2-d convolution of height 1.
#include <jouleprune/nn_sequence.h>
#include <jouleprune/ops.h>
#include <jouleprune/value_errors.h>

#include <ostream>

#include "nn/csr_members.h"

namespace jouleprune::nn {

torch::nn::detail::ConvNdOptions<2> of_height_1(const torch::nn::detail::ConvNdOptions<1>& options) {
  using Pair = torch::ExpandingArray<2>;
  torch::nn::detail::ConvNdOptions<2> made(options.in_channels(), options.out_channels(),
                                           Pair({1, (*options.kernel_size())[0]}));
  if (const auto* padding = std::get_if<torch::ExpandingArray<1>>(&options.padding())) {
    made.padding(Pair({0, (**padding)[0]}));
  } else if (std::holds_alternative<torch::enumtype::kSame>(options.padding())) {
    made.padding(torch::kSame);
  } else {
    made.padding(torch::kValid);
  }
  return made.stride(Pair({1, (*options.stride())[0]}))
      .dilation(Pair({1, (*options.dilation())[0]}))
      .groups(options.groups())
      .bias(options.bias())
      .padding_mode(options.padding_mode());
}

SparseConv1dImpl::SparseConv1dImpl(const torch::nn::Conv1dOptions& options_) : SparseConv1dImpl(conv_options<1>(options_)) {}

SparseConv1dImpl::SparseConv1dImpl(torch::nn::detail::ConvNdOptions<1> options_) : options(std::move(options_)) {
  const auto flat = of_height_1(options);
  check_conv("SparseConv1d", flat);
  start_empty(*this, options.out_channels(), conv_cols(flat), options.bias());
  reset();
}

void SparseConv1dImpl::reset() { register_members(*this, options.bias()); }

void SparseConv1dImpl::pretty_print(std::ostream& stream) const {
  const auto flat = of_height_1(options);
  const auto elements = static_cast<double>(options.out_channels()) * static_cast<double>(conv_cols(flat));
  stream << std::boolalpha << "jouleprune::nn::SparseConv1d(" << options.in_channels() << ", " << options.out_channels()
         << ", kernel_size=" << options.kernel_size() << ", stride=" << options.stride()
         << ", padding=" << (*zero_padding(flat))[1] << ", dilation=" << options.dilation() << ", groups=" << options.groups()
         << ", bias=" << options.bias() << ", layout=csr, nnz=" << nnz()
         << ", density=" << static_cast<double>(nnz()) / elements << (activation == "none" ? "" : ", activation=" + activation)
         << ')';
}

void SparseConv1dImpl::load(torch::serialize::InputArchive& archive) {
  load_members("SparseConv1d::load", *this, archive, options.out_channels(), conv_cols(of_height_1(options)), options.bias());
}

void SparseConv1dImpl::to(torch::Device device, torch::Dtype dtype, bool non_blocking) {
  move_tensors(*this, device, dtype, non_blocking);
}

void SparseConv1dImpl::to(torch::Dtype dtype, bool non_blocking) { move_tensors(*this, std::nullopt, dtype, non_blocking); }

void SparseConv1dImpl::to(torch::Device device, bool non_blocking) {
  move_tensors(*this, device, std::nullopt, non_blocking);
}

at::Tensor SparseConv1dImpl::forward(const at::Tensor& input, const at::Tensor& residual) {
  TORCH_CHECK_VALUE(input.dim() == 2 || input.dim() == 3, "SparseConv1d: input: expected [n, ", options.in_channels(),
                    ", w] or [", options.in_channels(), ", w], got ", input.sizes());
  const bool batched = input.dim() == 3;
  const auto flat = of_height_1(options);
  std::optional<at::Tensor> added;
  if (residual.defined()) added = batched ? residual.unsqueeze(-2) : residual.unsqueeze(-2).unsqueeze(0);
  const auto rows = batched ? input.unsqueeze(-2) : input.unsqueeze(-2).unsqueeze(0);
  const auto output = conv2d_csr(rows, values, col_indices, row_offsets, key, /*prepacked=*/std::nullopt,
                                 bias.defined() ? std::make_optional(bias) : std::nullopt, options.in_channels(),
                                 *flat.kernel_size(), *flat.stride(), *zero_padding(flat), *flat.dilation(), options.groups(),
                                 activation, added)
                          .squeeze(-2);
  return batched ? output : output.squeeze(0);
}

void SparseConv1dImpl::scale_rows(const at::Tensor& scale, const at::Tensor& shift) {
  scale_members("SparseConv1d::scale_rows", *this, parameters_["bias"], scale, shift);
  options.bias(true);
}

at::Tensor SparseConv1dImpl::to_dense() const {
  return unpack_csr(values, col_indices, row_offsets, conv_cols(of_height_1(options)))
      .view({options.out_channels(), options.in_channels() / options.groups(), (*options.kernel_size())[0]});
}

SparseConv1d SparseConv1d::from_dense(const torch::nn::Conv1dImpl& dense, const std::string& layout,
                                      const std::optional<at::Tensor>& mask) {
  TORCH_CHECK_VALUE(dense.weight.defined() && dense.weight.dim() == 3,
                    "SparseConv1d::from_dense: weight: expected 3 dimensions, got ",
                    dense.weight.defined() ? dense.weight.sizes() : at::IntArrayRef{});
  SparseConv1d made(dense.options);  // refuses what has no kernel before anything is packed
  take_dense(*made, pack("SparseConv1d::from_dense", dense.weight, layout, mask), dense);
  return made;
}

}  // namespace jouleprune::nn
