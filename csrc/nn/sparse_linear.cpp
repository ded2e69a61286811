// SparseLinear: y = x W^T + b with W in layout csr.
#include <jouleprune/nn.h>
#include <jouleprune/ops.h>

#include <ostream>

#include "nn/csr_members.h"

namespace jouleprune::nn {

SparseLinearImpl::SparseLinearImpl(SparseLinearOptions options_) : options(options_) {
  TORCH_CHECK_VALUE(options.in_features >= 0 && options.out_features >= 0,
                    "SparseLinear: in_features, out_features: expected numbers >= 0, got ", options.in_features, ", ",
                    options.out_features);
  start_empty(*this, options.out_features, options.in_features, options.bias);
  reset();
}

void SparseLinearImpl::reset() { register_members(*this, options.bias); }

void SparseLinearImpl::pretty_print(std::ostream& stream) const {
  const double elements = static_cast<double>(options.in_features) * static_cast<double>(options.out_features);
  stream << std::boolalpha << "jouleprune::nn::SparseLinear(in_features=" << options.in_features
         << ", out_features=" << options.out_features << ", bias=" << options.bias << ", layout=csr, nnz=" << nnz()
         << ", density=" << (elements > 0 ? static_cast<double>(nnz()) / elements : 1.0) << ')';
}

void SparseLinearImpl::load(torch::serialize::InputArchive& archive) {
  load_members("SparseLinear::load", *this, archive, options.out_features, options.in_features, options.bias);
}

void SparseLinearImpl::to(torch::Device device, torch::Dtype dtype, bool non_blocking) {
  move_tensors(*this, device, dtype, non_blocking);
}

void SparseLinearImpl::to(torch::Dtype dtype, bool non_blocking) { move_tensors(*this, std::nullopt, dtype, non_blocking); }

void SparseLinearImpl::to(torch::Device device, bool non_blocking) {
  move_tensors(*this, device, std::nullopt, non_blocking);
}

at::Tensor SparseLinearImpl::forward(const at::Tensor& input) {
  return linear_csr(input, values, col_indices, row_offsets, key, /*prepacked=*/std::nullopt,
                    bias.defined() ? std::make_optional(bias) : std::nullopt, options.in_features, /*activation=*/"none");
}

at::Tensor SparseLinearImpl::to_dense() const {
  return unpack_csr(values, col_indices, row_offsets, options.in_features);
}

SparseLinear SparseLinear::from_dense(const torch::nn::LinearImpl& dense, const std::string& layout,
                                      const std::optional<at::Tensor>& mask) {
  TORCH_CHECK_VALUE(dense.weight.defined() && dense.weight.dim() == 2,
                    "SparseLinear::from_dense: weight: expected [out_features, in_features], got ",
                    dense.weight.defined() ? dense.weight.sizes() : at::IntArrayRef{});
  const auto csr = pack("SparseLinear::from_dense", dense.weight, layout, mask);
  SparseLinear made(SparseLinearOptions(dense.weight.size(1), dense.weight.size(0), dense.bias.defined()));
  take_dense(*made, csr, dense);
  return made;
}

}  // namespace jouleprune::nn
