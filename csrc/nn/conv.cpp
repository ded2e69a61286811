// Conv1d, Conv2d: the interface of torch::nn's; dense until switch_to_sparse().
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <jouleprune/nn_sequence.h>
#include <torch/nn/functional/conv.h>
#include <torch/nn/functional/padding.h>
#include <torch/nn/init.h>

#include <cmath>
#include <ostream>
#include <vector>

#include "nn/csr_weight.h"

namespace jouleprune::nn {
namespace {

template <size_t D>
using Options = torch::nn::detail::ConvNdOptions<D>;

/// Amounts for functional::pad: last dimension first, both sides each.
template <size_t D>
std::vector<int64_t> pad_amounts(const Options<D>& options) {
  std::vector<int64_t> amounts;
  for (size_t dim = D; dim-- > 0;) {
    int64_t before = 0;
    int64_t after = 0;
    if (const auto* padding = std::get_if<torch::ExpandingArray<D>>(&options.padding())) {
      before = after = (**padding)[dim];
    } else if (std::holds_alternative<torch::enumtype::kSame>(options.padding())) {
      const int64_t total = (*options.dilation())[dim] * ((*options.kernel_size())[dim] - 1);
      before = total / 2;
      after = total - before;
    }
    amounts.insert(amounts.end(), {before, after});
  }
  return amounts;
}

template <size_t D>
torch::nn::functional::PadFuncOptions::mode_t pad_mode(const Options<D>& options) {
  if (std::holds_alternative<torch::enumtype::kReflect>(options.padding_mode())) {
    return torch::kReflect;
  }
  if (std::holds_alternative<torch::enumtype::kReplicate>(options.padding_mode())) {
    return torch::kReplicate;
  }
  return torch::kCircular;
}

template <size_t D, class Padding>
at::Tensor convolve(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias, const Options<D>& options,
                    const Padding& padding) {
  namespace F = torch::nn::functional;
  const auto told = F::ConvFuncOptions<D>()
                        .bias(bias)
                        .stride(options.stride())
                        .dilation(options.dilation())
                        .groups(options.groups())
                        .padding(padding);
  if constexpr (D == 1) {
    return F::conv1d(input, weight, told);
  } else {
    return F::conv2d(input, weight, told);
  }
}

template <size_t D>
at::Tensor dense_forward(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias, const Options<D>& options) {
  namespace F = torch::nn::functional;
  if (std::holds_alternative<torch::enumtype::kZeros>(options.padding_mode())) {
    return convolve<D>(input, weight, bias, options, options.padding());
  }
  const auto padded = F::pad(input, F::PadFuncOptions(pad_amounts<D>(options)).mode(pad_mode<D>(options)));
  return convolve<D>(padded, weight, bias, options, torch::ExpandingArray<D>(0));
}

template <size_t D>
std::vector<int64_t> weight_sizes(const Options<D>& options) {
  std::vector<int64_t> sizes = {options.out_channels(), options.in_channels() / options.groups()};
  sizes.insert(sizes.end(), options.kernel_size()->begin(), options.kernel_size()->end());
  return sizes;
}

}  // namespace

template <size_t D, class Derived, class Sparse>
std::string SwitchableConvImpl<D, Derived, Sparse>::name_of(const char* member) const {
  return "Conv" + std::to_string(D) + "d" + member;
}

template <size_t D, class Derived, class Sparse>
SwitchableConvImpl<D, Derived, Sparse>::SwitchableConvImpl(const torch::nn::ConvOptions<D>& options_)
    : options(conv_options<D>(options_)) {
  SwitchableConvImpl::reset();
}

template <size_t D, class Derived, class Sparse>
void SwitchableConvImpl<D, Derived, Sparse>::reset() {
  if (sparse_) {  // reached by clone(): the copy gets tensors of its own
    adopt_sparse(std::dynamic_pointer_cast<typename Sparse::Impl>(sparse_->clone()));
    return;
  }
  TORCH_CHECK_VALUE(options.groups() > 0 && options.in_channels() > 0 && options.out_channels() > 0 &&
                        options.in_channels() % options.groups() == 0 && options.out_channels() % options.groups() == 0,
                    name_of(""), ": expected in_channels and out_channels that are multiples of groups, got ", options.in_channels(),
                    ", ", options.out_channels(), ", groups ", options.groups());
  weight = this->register_parameter("weight", at::empty(weight_sizes<D>(options)));
  if (options.bias()) {
    bias = this->register_parameter("bias", at::empty({options.out_channels()}));
  } else {
    bias = this->register_parameter("bias", at::Tensor(), /*requires_grad=*/false);
  }
  reset_parameters();
}

template <size_t D, class Derived, class Sparse>
void SwitchableConvImpl<D, Derived, Sparse>::reset_parameters() {
  TORCH_CHECK_VALUE(!is_sparse(), name_of("::reset_parameters"), ": the layer runs sparse; call switch_to_dense() first");
  torch::nn::init::kaiming_uniform_(weight, std::sqrt(5));
  if (bias.defined()) {
    const auto fan_in = std::get<0>(torch::nn::init::_calculate_fan_in_and_fan_out(weight));
    const auto bound = 1 / std::sqrt(fan_in);
    torch::nn::init::uniform_(bias, -bound, bound);
  }
}

template <size_t D, class Derived, class Sparse>
void SwitchableConvImpl<D, Derived, Sparse>::pretty_print(std::ostream& stream) const {
  if (sparse_) {
    sparse_->pretty_print(stream);
    return;
  }
  stream << std::boolalpha << "jouleprune::nn::" << name_of("(") << options.in_channels() << ", " << options.out_channels()
         << ", kernel_size=" << options.kernel_size() << ", stride=" << options.stride() << ", groups=" << options.groups()
         << ", bias=" << options.bias() << ')';
}

template <size_t D, class Derived, class Sparse>
void SwitchableConvImpl<D, Derived, Sparse>::load(torch::serialize::InputArchive& archive) {
  at::Tensor found;
  if (archive.try_read("values", found) || archive.try_read("blocks", found)) {
    Sparse loaded(options);
    loaded->load(archive);
    loaded->train(this->is_training());
    drop_tensors();
    adopt_sparse(loaded.ptr());
    return;
  }
  const auto expected = weight_sizes<D>(options);
  TORCH_CHECK_VALUE(archive.try_read("weight", found) && found.sizes() == at::IntArrayRef(expected), name_of("::load"),
                    ": weight: expected ", at::IntArrayRef(expected), ", got ",
                    found.defined() ? found.sizes() : at::IntArrayRef{});
  const auto loaded_bias = read_bias(name_of("::load"), archive, options.out_channels(), options.bias());
  if (sparse_) {
    switch_to_dense();
  }
  assign_parameter(weight, found);
  if (bias.defined()) {
    assign_parameter(bias, loaded_bias);
  }
}

template <size_t D, class Derived, class Sparse>
void SwitchableConvImpl<D, Derived, Sparse>::to(torch::Device device, torch::Dtype dtype, bool non_blocking) {
  sparse_ ? sparse_->to(device, dtype, non_blocking) : move_tensors(*this, device, dtype, non_blocking);
}

template <size_t D, class Derived, class Sparse>
void SwitchableConvImpl<D, Derived, Sparse>::to(torch::Dtype dtype, bool non_blocking) {
  sparse_ ? sparse_->to(dtype, non_blocking) : move_tensors(*this, std::nullopt, dtype, non_blocking);
}

template <size_t D, class Derived, class Sparse>
void SwitchableConvImpl<D, Derived, Sparse>::to(torch::Device device, bool non_blocking) {
  sparse_ ? sparse_->to(device, non_blocking) : move_tensors(*this, device, std::nullopt, non_blocking);
}

template <size_t D, class Derived, class Sparse>
at::Tensor SwitchableConvImpl<D, Derived, Sparse>::forward(const at::Tensor& input, const at::Tensor& residual) {
  if (sparse_) return sparse_->forward(input, residual);
  return dense_sum(name_of("").c_str(), dense_forward<D>(input, weight, bias, options), residual);
}

template <size_t D, class Derived, class Sparse>
at::Tensor SwitchableConvImpl<D, Derived, Sparse>::to_dense() const {
  return sparse_ ? sparse_->to_dense() : weight;
}

template <size_t D, class Derived, class Sparse>
void SwitchableConvImpl<D, Derived, Sparse>::switch_to_layout(const std::string& layout, const std::optional<at::Tensor>& mask) {
  const std::string op = name_of("::switch_to_sparse");
  TORCH_CHECK_VALUE(!is_sparse(), op, ": the layer runs sparse already");
  Sparse made(options);  // refuses what has no kernel before anything changes
  assign({made->values, made->col_indices, made->row_offsets, made->key}, pack(op, weight, layout, mask));
  made->values.set_requires_grad(weight.requires_grad());
  if (bias.defined()) {
    assign_parameter(made->bias, bias.detach().clone());
    made->bias.set_requires_grad(bias.requires_grad());
  }
  switch_to_sparse(made);
}

template <size_t D, class Derived, class Sparse>
void SwitchableConvImpl<D, Derived, Sparse>::switch_to_sparse(const Sparse& made) {
  const std::string op = name_of("::switch_to_sparse");
  TORCH_CHECK_VALUE(!is_sparse(), op, ": the layer runs sparse already");
  const auto& sizes = made->options;
  TORCH_CHECK_VALUE(sizes.in_channels() == options.in_channels() && sizes.out_channels() == options.out_channels() &&
                        sizes.groups() == options.groups() && *sizes.kernel_size() == *options.kernel_size() &&
                        sizes.bias() == options.bias(),
                    op, ": made: expected a layer [", options.in_channels(), " -> ", options.out_channels(), "], kernel ",
                    options.kernel_size(), ", groups ", options.groups(), ", bias ", options.bias(), ", got [", sizes.in_channels(),
                    " -> ", sizes.out_channels(), "], kernel ", sizes.kernel_size(), ", groups ", sizes.groups(), ", bias ", sizes.bias());
  made.ptr()->train(this->is_training());
  drop_tensors();
  adopt_sparse(made.ptr());
}

template <size_t D, class Derived, class Sparse>
void SwitchableConvImpl<D, Derived, Sparse>::switch_to_dense() {
  TORCH_CHECK_VALUE(is_sparse(), name_of("::switch_to_dense"), ": the layer is dense already");
  const auto sparse = sparse_;
  const auto dense = sparse->to_dense().detach().clone();
  drop_tensors();
  weight = this->register_parameter("weight", dense, sparse->values.defined() && sparse->values.requires_grad());
  bias = this->register_parameter("bias", sparse->bias, sparse->bias.defined() && sparse->bias.requires_grad());
}

template <size_t D, class Derived, class Sparse>
void SwitchableConvImpl<D, Derived, Sparse>::drop_tensors() {
  drop_registered(*this);
  sparse_ = nullptr;
  weight = at::Tensor();
  bias = at::Tensor();
}

template <size_t D, class Derived, class Sparse>
void SwitchableConvImpl<D, Derived, Sparse>::adopt_sparse(std::shared_ptr<typename Sparse::Impl> sparse) {
  sparse_ = std::move(sparse);
  for (const auto& parameter : sparse_->named_parameters(/*recurse=*/false)) {
    this->register_parameter(parameter.key(), parameter.value(), parameter.value().requires_grad());
  }
  for (const auto& buffer : sparse_->named_buffers(/*recurse=*/false)) {
    this->register_buffer(buffer.key(), buffer.value());
  }
  if (!sparse_->bias.defined()) this->register_parameter("bias", at::Tensor(), /*requires_grad=*/false);
  bias = sparse_->bias;
}

void Conv2dImpl::switch_to_sparse(const PackOptions& packing) {
  TORCH_CHECK_VALUE(!is_sparse(), "Conv2d::switch_to_sparse: the layer runs sparse already");
  switch_to_sparse(SparseConv2d::pack(weight, bias, options, packing));
}

template class SwitchableConvImpl<1, Conv1dImpl, SparseConv1d>;
template class SwitchableConvImpl<2, Conv2dImpl, SparseConv2d>;

}  // namespace jouleprune::nn
