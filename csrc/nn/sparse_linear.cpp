// SparseLinear: y = activation(x W^T + b) with W in one of several layouts.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <jouleprune/nn.h>
#include <jouleprune/value_errors.h>

#include <algorithm>
#include <ostream>

#include "nn/csr_members.h"
#include "nn/int8_members.h"
#include "nn/linear_layouts.h"

namespace jouleprune::nn {
namespace {

constexpr const char* kLoadLinear = "SparseLinear::load";

const LinearLayout& layout_of(const SparseLinearImpl& layer) { return layout_of("SparseLinear", layer.options); }

std::optional<at::Tensor> bias_of(const SparseLinearImpl& layer) {
  return layer.bias.defined() ? std::make_optional(layer.bias) : std::nullopt;
}

/// Empty, or how a tensor differs from what `expected`, of an empty layer, allows.
void check_read(const LinearTensor& kind, const at::Tensor& read, const at::Tensor& expected, bool counted) {
  const bool dtype = kind.parameter ? read.is_floating_point() : read.scalar_type() == expected.scalar_type();
  const size_t fixed = counted ? 1 : 0;  // the first size of what is counted is the number of kept blocks
  const bool sizes = read.dim() == expected.dim() && read.sizes().slice(fixed) == expected.sizes().slice(fixed);
  TORCH_CHECK_VALUE(dtype && sizes, kLoadLinear, ": ", kind.name, ": expected ", kind.parameter ? "floating point" : toString(expected.scalar_type()),
                    " ", expected.sizes(), counted ? " (any first size)" : "", ", got ", read.scalar_type(), " ", read.sizes());
}

/// Runs the op on an empty batch: computes nothing, but throws what it has against these tensors.
void probe(const SparseLinearImpl& layer) {
  SparseLinearImpl host(layer.options);
  for (const auto& tensor : layout_of(layer).tensors) {
    host.*tensor.member = (layer.*tensor.member).detach().cpu();
  }
  const auto dtype = layer.is_int8() ? at::kFloat : layer.blocks.scalar_type();
  const at::NoGradGuard no_grad;
  layout_of(layer).multiply(host, at::empty({0, layer.options.in_features}, dtype), std::nullopt);
}

/// The layer of an archive, checked.
SparseLinear read_layer(torch::serialize::InputArchive& archive, const SparseLinearOptions& sizes) {
  const at::NoGradGuard no_grad;
  SparseLinear read(layout_in(kLoadLinear, archive, sizes));
  if (read->options.layout == "csr") {
    auto csr = read_csr(kLoadLinear, archive, sizes.out_features, sizes.in_features);
    read->values = csr.values, read->col_indices = csr.col_indices, read->row_offsets = csr.row_offsets, read->key = csr.key;
  } else {
    for (const auto& tensor : layout_of(*read).tensors) {
      at::Tensor found;
      TORCH_CHECK_VALUE(archive.try_read(tensor.name, found, !tensor.parameter), kLoadLinear, ": expected '", tensor.name,
                        "' in the archive, found none");
      const bool counted = tensor.member == &SparseLinearImpl::blocks || tensor.member == &SparseLinearImpl::block_columns;
      check_read(tensor, found, (*read).*tensor.member, counted);
      (*read).*tensor.member = found;
    }
    probe(*read);
  }
  read->bias = read_bias(kLoadLinear, archive, sizes.out_features, sizes.bias);
  return read;
}

}  // namespace

SparseLinearImpl::SparseLinearImpl(SparseLinearOptions options_) : options(std::move(options_)) {
  TORCH_CHECK_VALUE(options.in_features >= 0 && options.out_features >= 0,
                    "SparseLinear: in_features, out_features: expected numbers >= 0, got ", options.in_features, ", ",
                    options.out_features);
  if (options.dtype == "int8") {
    options.block_size = {1, 4};
  }
  layout_of(*this).start_empty(*this);
  if (options.bias) {
    bias = at::zeros({options.out_features});
  }
  reset();
}

void SparseLinearImpl::reset() {
  const auto& layout = layout_of(*this);
  for (const auto& tensor : layout.tensors) {
    auto& member = this->*tensor.member;
    member = member.detach().clone();
    tensor.parameter ? register_parameter(tensor.name, member) : register_buffer(tensor.name, member);
  }
  bias = options.bias ? bias.detach().clone() : at::Tensor();
  if (layout.trains) {
    register_parameter("bias", bias, /*requires_grad=*/options.bias);
  } else if (options.bias) {
    register_buffer("bias", bias);
  }
}

void SparseLinearImpl::pretty_print(std::ostream& stream) const {
  const double elements = static_cast<double>(options.in_features) * static_cast<double>(options.out_features);
  stream << std::boolalpha << "jouleprune::nn::SparseLinear(in_features=" << options.in_features
         << ", out_features=" << options.out_features << ", bias=" << options.bias << ", layout=" << options.layout;
  if (options.layout == "bsr") {
    stream << ", block_size=" << options.block_size[0] << 'x' << options.block_size[1];
  }
  stream << (is_int8() ? ", dtype=int8" : "") << ", nnz=" << nnz()
         << ", density=" << (elements > 0 ? std::min(1.0, static_cast<double>(nnz()) / elements) : 1.0)
         << (activation == "none" ? "" : ", activation=" + activation) << ')';
}

void SparseLinearImpl::load(torch::serialize::InputArchive& archive) {
  auto read = read_layer(archive, options);
  take_over(*read);
}

void SparseLinearImpl::take_over(SparseLinearImpl& other) {
  const bool alike = options.layout == other.options.layout && options.dtype == other.options.dtype;
  options = other.options;
  const auto& layout = layout_of(*this);
  if (alike) {  // parameters stay the same objects
    for (const auto& tensor : layout.tensors) {
      assign_parameter(this->*tensor.member, other.*tensor.member);
    }
    if (options.bias) {
      assign_parameter(bias, other.bias);
    }
    return;
  }
  drop_registered(*this);
  values = col_indices = row_offsets = blocks = block_columns = block_row_offsets = scales = input_scale = at::Tensor();
  for (const auto& tensor : layout.tensors) {
    this->*tensor.member = other.*tensor.member;
  }
  bias = other.bias;
  reset();
}

void SparseLinearImpl::to(torch::Device device, torch::Dtype dtype, bool non_blocking) {
  move_tensors(*this, device, is_int8() ? std::nullopt : std::make_optional(dtype), non_blocking);
}

void SparseLinearImpl::to(torch::Dtype dtype, bool non_blocking) {
  move_tensors(*this, std::nullopt, is_int8() ? std::nullopt : std::make_optional(dtype), non_blocking);
}

void SparseLinearImpl::to(torch::Device device, bool non_blocking) {
  move_tensors(*this, device, std::nullopt, non_blocking);
}

at::Tensor SparseLinearImpl::forward(const at::Tensor& input, const at::Tensor& residual) {
  if (!residual.defined()) return layout_of(*this).multiply(*this, input, bias_of(*this));
  TORCH_CHECK_VALUE(options.layout == "csr", "SparseLinear: residual: expected none for layout ", options.layout,
                    ", or a layer in layout csr");
  return multiply_csr(*this, input, bias_of(*this), residual);
}

at::Tensor SparseLinearImpl::to_dense() const { return layout_of(*this).unpack(*this); }

void SparseLinearImpl::scale_rows(const at::Tensor& scale, const at::Tensor& shift) {
  constexpr const char* op = "SparseLinear::scale_rows";
  TORCH_CHECK_VALUE(options.layout == "csr" || is_int8(), op, ": expected a layer in layout csr or of dtype int8, got ", options.layout);
  if (is_int8()) {
    scale_int8(op, *this, scale, shift);
  } else {
    scale_members(op, *this, parameters_["bias"], scale, shift);
  }
  options.bias = true;
}

void SparseLinearImpl::fix_input_scale(std::optional<double> scale) {
  TORCH_CHECK_VALUE(is_int8(), "SparseLinear::fix_input_scale: expected a layer with dtype \"int8\", got layout ", options.layout,
                    " of ", values.defined() ? values.scalar_type() : blocks.scalar_type());
  fix_int8_input_scale("SparseLinear::fix_input_scale", *this, scale);
}

SparseLinear SparseLinear::pack(const at::Tensor& dense_weight, const at::Tensor& dense_bias, const PackOptions& options) {
  constexpr const char* op = "SparseLinear::from_dense";
  TORCH_CHECK_VALUE(dense_weight.defined() && dense_weight.dim() == 2, op, ": weight: expected [out_features, in_features], got ",
                    dense_weight.defined() ? dense_weight.sizes() : at::IntArrayRef{});
  const at::NoGradGuard no_grad;
  const auto weight = dense_weight.detach();
  PackOptions checked = options;
  checked.mask = kept_entries(op, weight, options.mask);
  SparseLinear made(resolved(op, weight, dense_bias.defined(), checked));
  SparseLinearImpl packed(made->options);
  layout_of(*made).pack(packed, weight, checked.mask);
  if (dense_bias.defined()) {
    packed.bias = dense_bias.detach().to(made->is_int8() ? at::kFloat : dense_bias.scalar_type()).clone();
  }
  made->take_over(packed);
  for (const auto& tensor : layout_of(*made).tensors) {
    if (tensor.parameter) ((*made).*tensor.member).set_requires_grad(dense_weight.requires_grad());
  }
  if (dense_bias.defined() && !made->is_int8()) {
    made->bias.set_requires_grad(dense_bias.requires_grad());
  }
  return made;
}

SparseLinear SparseLinear::from_dense(const torch::nn::LinearImpl& dense, const PackOptions& options) {
  auto made = pack(dense.weight, dense.bias, options);
  made->train(dense.is_training());
  return made;
}

}  // namespace jouleprune::nn
