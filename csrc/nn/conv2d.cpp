// Conv2d: torch::nn::Conv2d's interface; dense until switch_to_sparse().
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <jouleprune/nn.h>
#include <torch/nn/functional/conv.h>
#include <torch/nn/functional/padding.h>
#include <torch/nn/init.h>

#include <cmath>
#include <ostream>

#include "nn/csr_weight.h"

namespace jouleprune::nn {
namespace {

/// Amounts for functional::pad: last dimension first, both sides each.
std::vector<int64_t> pad_amounts(const torch::nn::detail::ConvNdOptions<2>& options) {
  std::vector<int64_t> amounts;
  for (const size_t dim : {size_t{1}, size_t{0}}) {
    int64_t before = 0;
    int64_t after = 0;
    if (const auto* padding = std::get_if<torch::ExpandingArray<2>>(&options.padding())) {
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

torch::nn::functional::PadFuncOptions::mode_t pad_mode(const torch::nn::detail::ConvNdOptions<2>& options) {
  if (std::holds_alternative<torch::enumtype::kReflect>(options.padding_mode())) {
    return torch::kReflect;
  }
  if (std::holds_alternative<torch::enumtype::kReplicate>(options.padding_mode())) {
    return torch::kReplicate;
  }
  return torch::kCircular;
}

at::Tensor dense_forward(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                         const torch::nn::detail::ConvNdOptions<2>& options) {
  namespace F = torch::nn::functional;
  auto conv = F::Conv2dFuncOptions().bias(bias).stride(options.stride()).dilation(options.dilation()).groups(options.groups());
  if (std::holds_alternative<torch::enumtype::kZeros>(options.padding_mode())) {
    return F::conv2d(input, weight, conv.padding(options.padding()));
  }
  const auto padded = F::pad(input, F::PadFuncOptions(pad_amounts(options)).mode(pad_mode(options)));
  return F::conv2d(padded, weight, conv);
}

}  // namespace

Conv2dImpl::Conv2dImpl(const torch::nn::Conv2dOptions& options_) : options(conv_options<2>(options_)) { Conv2dImpl::reset(); }

void Conv2dImpl::reset() {
  if (sparse_) {  // reached by clone(): the copy gets tensors of its own
    adopt_sparse(std::dynamic_pointer_cast<SparseConv2dImpl>(sparse_->clone()));
    return;
  }
  TORCH_CHECK_VALUE(options.groups() > 0 && options.in_channels() > 0 && options.out_channels() > 0 &&
                        options.in_channels() % options.groups() == 0 && options.out_channels() % options.groups() == 0,
                    "Conv2d: expected in_channels and out_channels that are multiples of groups, got ", options.in_channels(),
                    ", ", options.out_channels(), ", groups ", options.groups());
  weight = register_parameter("weight", at::empty({options.out_channels(), options.in_channels() / options.groups(),
                                                   (*options.kernel_size())[0], (*options.kernel_size())[1]}));
  if (options.bias()) {
    bias = register_parameter("bias", at::empty({options.out_channels()}));
  } else {
    bias = register_parameter("bias", at::Tensor(), /*requires_grad=*/false);
  }
  reset_parameters();
}

void Conv2dImpl::reset_parameters() {
  TORCH_CHECK_VALUE(!is_sparse(), "Conv2d::reset_parameters: the layer runs sparse; call switch_to_dense() first");
  torch::nn::init::kaiming_uniform_(weight, std::sqrt(5));
  if (bias.defined()) {
    const auto fan_in = std::get<0>(torch::nn::init::_calculate_fan_in_and_fan_out(weight));
    const auto bound = 1 / std::sqrt(fan_in);
    torch::nn::init::uniform_(bias, -bound, bound);
  }
}

void Conv2dImpl::pretty_print(std::ostream& stream) const {
  if (sparse_) {
    sparse_->pretty_print(stream);
    return;
  }
  stream << std::boolalpha << "jouleprune::nn::Conv2d(" << options.in_channels() << ", " << options.out_channels()
         << ", kernel_size=" << options.kernel_size() << ", stride=" << options.stride() << ", groups=" << options.groups()
         << ", bias=" << options.bias() << ')';
}

void Conv2dImpl::load(torch::serialize::InputArchive& archive) {
  at::Tensor found;
  if (archive.try_read("values", found)) {
    SparseConv2d loaded(options);
    loaded->load(archive);
    loaded->train(is_training());
    drop_tensors();
    adopt_sparse(loaded.ptr());
    return;
  }
  const std::vector<int64_t> expected = {options.out_channels(), options.in_channels() / options.groups(),
                                         (*options.kernel_size())[0], (*options.kernel_size())[1]};
  TORCH_CHECK_VALUE(archive.try_read("weight", found) && found.sizes() == at::IntArrayRef(expected),
                    "Conv2d::load: weight: expected ", at::IntArrayRef(expected), ", got ",
                    found.defined() ? found.sizes() : at::IntArrayRef{});
  const auto loaded_bias = read_bias("Conv2d::load", archive, options.out_channels(), options.bias());
  if (sparse_) {
    switch_to_dense();
  }
  assign_parameter(weight, found);
  if (bias.defined()) {
    assign_parameter(bias, loaded_bias);
  }
}

void Conv2dImpl::to(torch::Device device, torch::Dtype dtype, bool non_blocking) {
  move_tensors(*this, device, dtype, non_blocking);
}

void Conv2dImpl::to(torch::Dtype dtype, bool non_blocking) { move_tensors(*this, std::nullopt, dtype, non_blocking); }

void Conv2dImpl::to(torch::Device device, bool non_blocking) { move_tensors(*this, device, std::nullopt, non_blocking); }

at::Tensor Conv2dImpl::forward(const at::Tensor& input) {
  return sparse_ ? sparse_->forward(input) : dense_forward(input, weight, bias, options);
}

at::Tensor Conv2dImpl::to_dense() const { return sparse_ ? sparse_->to_dense() : weight; }

void Conv2dImpl::switch_to_sparse(const std::string& layout, const std::optional<at::Tensor>& mask) {
  TORCH_CHECK_VALUE(!is_sparse(), "Conv2d::switch_to_sparse: the layer runs sparse already");
  SparseConv2d made(options);  // refuses what has no kernel before anything changes
  assign({made->values, made->col_indices, made->row_offsets, made->key},
         pack("Conv2d::switch_to_sparse", weight, layout, mask));
  made->values.set_requires_grad(weight.requires_grad());
  if (bias.defined()) {
    assign_parameter(made->bias, bias.detach().clone());
    made->bias.set_requires_grad(bias.requires_grad());
  }
  drop_tensors();
  adopt_sparse(made.ptr());
}

void Conv2dImpl::switch_to_dense() {
  TORCH_CHECK_VALUE(is_sparse(), "Conv2d::switch_to_dense: the layer is dense already");
  const auto sparse = sparse_;
  const auto dense = sparse->to_dense().detach().clone();
  drop_tensors();
  weight = register_parameter("weight", dense, sparse->values.requires_grad());
  bias = register_parameter("bias", sparse->bias, sparse->bias.defined() && sparse->bias.requires_grad());
}

void Conv2dImpl::drop_tensors() {
  // Buffers cannot be unregistered one by one: an empty module takes the place of the base.
  torch::nn::Module fresh(name());
  fresh.train(is_training());
  static_cast<torch::nn::Module&>(*this) = fresh;
  sparse_ = nullptr;
  weight = at::Tensor();
  bias = at::Tensor();
}

void Conv2dImpl::adopt_sparse(std::shared_ptr<SparseConv2dImpl> sparse) {
  sparse_ = std::move(sparse);
  register_parameter("values", sparse_->values, sparse_->values.requires_grad());
  register_buffer("col_indices", sparse_->col_indices);
  register_buffer("row_offsets", sparse_->row_offsets);
  register_buffer("key", sparse_->key);
  bias = register_parameter("bias", sparse_->bias, sparse_->bias.defined() && sparse_->bias.requires_grad());
}

}  // namespace jouleprune::nn
