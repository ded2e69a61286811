// Linear: torch::nn::Linear's interface; dense until switch_to_sparse().
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <jouleprune/nn.h>
#include <torch/nn/init.h>

#include <cmath>
#include <ostream>

#include "nn/csr_weight.h"

namespace jouleprune::nn {

LinearImpl::LinearImpl(const torch::nn::LinearOptions& options_) : options(options_) { LinearImpl::reset(); }

LinearImpl::LinearImpl(const at::Tensor& weight_, const at::Tensor& bias_)
    : options(torch::nn::LinearOptions(weight_.size(1), weight_.size(0)).bias(bias_.defined())) {
  weight = register_parameter("weight", weight_, weight_.requires_grad());
  bias = register_parameter("bias", bias_, bias_.defined() && bias_.requires_grad());
}

LinearImpl::LinearImpl(const SparseLinear& made)
    : options(torch::nn::LinearOptions(made->options.in_features, made->options.out_features).bias(made->options.bias)) {
  adopt_sparse(made.ptr());
}

void LinearImpl::reset() {
  if (sparse_) {  // reached by clone(): the copy gets tensors of its own
    adopt_sparse(std::dynamic_pointer_cast<SparseLinearImpl>(sparse_->clone()));
    return;
  }
  weight = register_parameter("weight", at::empty({options.out_features(), options.in_features()}));
  if (options.bias()) {
    bias = register_parameter("bias", at::empty({options.out_features()}));
  } else {
    bias = register_parameter("bias", at::Tensor(), /*requires_grad=*/false);
  }
  reset_parameters();
}

void LinearImpl::reset_parameters() {
  TORCH_CHECK_VALUE(!is_sparse(), "Linear::reset_parameters: the layer runs sparse; call switch_to_dense() first");
  torch::nn::init::kaiming_uniform_(weight, std::sqrt(5));
  if (bias.defined()) {
    const auto fan_in = std::get<0>(torch::nn::init::_calculate_fan_in_and_fan_out(weight));
    const auto bound = 1 / std::sqrt(fan_in);
    torch::nn::init::uniform_(bias, -bound, bound);
  }
}

void LinearImpl::pretty_print(std::ostream& stream) const {
  if (sparse_) {
    sparse_->pretty_print(stream);
    return;
  }
  stream << std::boolalpha << "jouleprune::nn::Linear(in_features=" << options.in_features()
         << ", out_features=" << options.out_features() << ", bias=" << options.bias() << ')';
}

void LinearImpl::load(torch::serialize::InputArchive& archive) {
  at::Tensor found;
  if (archive.try_read("values", found) || archive.try_read("blocks", found)) {
    SparseLinear loaded(SparseLinearOptions(options.in_features(), options.out_features(), options.bias()));
    loaded->load(archive);
    loaded->train(is_training());
    drop_tensors();
    adopt_sparse(loaded.ptr());
    return;
  }
  TORCH_CHECK_VALUE(archive.try_read("weight", found) && found.dim() == 2 && found.size(0) == options.out_features() &&
                        found.size(1) == options.in_features(),
                    "Linear::load: weight: expected [", options.out_features(), ", ", options.in_features(), "], got ",
                    found.defined() ? found.sizes() : at::IntArrayRef{});
  const auto loaded_bias = read_bias("Linear::load", archive, options.out_features(), options.bias());
  if (sparse_) {
    switch_to_dense();
  }
  assign_parameter(weight, found);
  if (bias.defined()) {
    assign_parameter(bias, loaded_bias);
  }
}

void LinearImpl::to(torch::Device device, torch::Dtype dtype, bool non_blocking) {
  sparse_ ? sparse_->to(device, dtype, non_blocking) : move_tensors(*this, device, dtype, non_blocking);
}

void LinearImpl::to(torch::Dtype dtype, bool non_blocking) {
  sparse_ ? sparse_->to(dtype, non_blocking) : move_tensors(*this, std::nullopt, dtype, non_blocking);
}

void LinearImpl::to(torch::Device device, bool non_blocking) { move_tensors(*this, device, std::nullopt, non_blocking); }

at::Tensor LinearImpl::forward(const at::Tensor& input, const at::Tensor& residual) {
  if (sparse_) return sparse_->forward(input, residual);
  // torch::nn::functional::linear adds the bias in a pass of its own where the input has more than two dimensions.
  const auto output = at::linear(input, weight, bias.defined() ? std::make_optional(bias) : std::nullopt);
  return dense_sum("Linear", output, residual);
}

at::Tensor LinearImpl::to_dense() const { return sparse_ ? sparse_->to_dense() : weight; }

void LinearImpl::switch_to_sparse(const PackOptions& options) {
  TORCH_CHECK_VALUE(!is_sparse(), "Linear::switch_to_sparse: the layer runs sparse already");
  switch_to_sparse(SparseLinear::pack(weight, bias, options));
}

void LinearImpl::switch_to_sparse(const SparseLinear& made) {
  TORCH_CHECK_VALUE(!is_sparse(), "Linear::switch_to_sparse: the layer runs sparse already");
  const auto& sizes = made->options;
  TORCH_CHECK_VALUE(sizes.in_features == options.in_features() && sizes.out_features == options.out_features() &&
                        sizes.bias == options.bias(),
                    "Linear::switch_to_sparse: made: expected a layer [", options.in_features(), " -> ", options.out_features(),
                    "] with bias ", options.bias(), ", got [", sizes.in_features, " -> ", sizes.out_features, "] with bias ", sizes.bias);
  made.ptr()->train(is_training());
  drop_tensors();
  adopt_sparse(made.ptr());
}

void LinearImpl::switch_to_dense() {
  TORCH_CHECK_VALUE(is_sparse(), "Linear::switch_to_dense: the layer is dense already");
  const auto sparse = sparse_;
  const auto dense = sparse->to_dense().detach().clone();
  drop_tensors();
  const auto& values = sparse->values.defined() ? sparse->values : sparse->blocks;
  weight = register_parameter("weight", dense, values.requires_grad());
  bias = register_parameter("bias", sparse->bias, sparse->bias.defined() && sparse->bias.requires_grad());
}

void LinearImpl::drop_tensors() {
  drop_registered(*this);
  sparse_ = nullptr;
  weight = at::Tensor();
  bias = at::Tensor();
}

void LinearImpl::adopt_sparse(std::shared_ptr<SparseLinearImpl> sparse) {
  sparse_ = std::move(sparse);
  for (const auto& parameter : sparse_->named_parameters(/*recurse=*/false)) {
    register_parameter(parameter.key(), parameter.value(), parameter.value().requires_grad());
  }
  for (const auto& buffer : sparse_->named_buffers(/*recurse=*/false)) {
    register_buffer(buffer.key(), buffer.value());
  }
  bias = sparse_->bias;
}

}  // namespace jouleprune::nn
