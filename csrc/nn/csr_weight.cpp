#include "nn/csr_weight.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <jouleprune/ops.h>
#include <jouleprune/value_errors.h>

#include "formats/csr.h"

namespace jouleprune::nn {
namespace {

formats::CsrView view_of(const CsrWeight& csr, int64_t rows, int64_t cols) {
  return {rows, cols, csr.values.numel(), csr.col_indices.const_data_ptr<int32_t>(), csr.row_offsets.const_data_ptr<int32_t>()};
}

at::Tensor key_tensor(const CsrWeight& csr, int64_t rows, int64_t cols) {
  const auto key = formats::csr_key(view_of(csr, rows, cols));
  return at::tensor({key[0], key[1]}, at::kLong);
}

at::Tensor read_tensor(const std::string& op, torch::serialize::InputArchive& archive, const char* name, bool is_buffer) {
  at::Tensor tensor;
  TORCH_CHECK_VALUE(archive.try_read(name, tensor, is_buffer), op, ": expected '", name, "' in the archive, found none");
  return tensor;
}

void check_vector(const std::string& op, const char* name, const at::Tensor& tensor, at::ScalarType dtype, int64_t size) {
  TORCH_CHECK_VALUE(tensor.dim() == 1 && tensor.numel() == size && tensor.scalar_type() == dtype, op, ": ", name,
                    ": expected ", dtype, " [", size, "], got ", tensor.scalar_type(), " ", tensor.sizes());
}

}  // namespace

CsrWeight empty_csr(int64_t rows, int64_t cols) {
  CsrWeight csr{at::empty({0}), at::empty({0}, at::kInt), at::zeros({rows + 1}, at::kInt), {}};
  csr.key = key_tensor(csr, rows, cols);
  return csr;
}

void check_csr(const std::string& op, const std::string& layout) {
  if (layout != "csr") {
    throw PatternError(op + ": layout: expected \"csr\", got \"" + layout + "\"");
  }
}

std::optional<at::Tensor> kept_entries(const std::string& op, const at::Tensor& weight, const std::optional<at::Tensor>& mask) {
  if (!mask.has_value()) {
    return std::nullopt;
  }
  TORCH_CHECK_VALUE(mask->defined() && mask->sizes() == weight.sizes(), op, ": mask: expected the shape of the weight, ",
                    weight.sizes(), ", got ", mask->defined() ? mask->sizes() : at::IntArrayRef{});
  return mask->detach().to(weight.device()).to(at::kBool);
}

CsrWeight pack(const std::string& op, const at::Tensor& weight, const std::string& layout,
               const std::optional<at::Tensor>& mask) {
  check_csr(op, layout);
  const at::NoGradGuard no_grad;
  auto kept = kept_entries(op, weight, mask);
  const int64_t rows = weight.size(0);
  const int64_t cols = rows == 0 ? 0 : weight.numel() / rows;
  if (kept.has_value()) {
    kept = kept->reshape({rows, cols});
  }
  auto [values, col_indices, row_offsets, key] = pack_csr(weight.detach().reshape({rows, cols}), kept);
  return {values, col_indices, row_offsets, key};
}

CsrWeight read_csr(const std::string& op, torch::serialize::InputArchive& archive, int64_t rows, int64_t cols) {
  const at::NoGradGuard no_grad;
  CsrWeight csr{read_tensor(op, archive, "values", false), read_tensor(op, archive, "col_indices", true),
                read_tensor(op, archive, "row_offsets", true), read_tensor(op, archive, "key", true)};
  TORCH_CHECK_VALUE(csr.values.dim() == 1 && csr.values.is_floating_point(), op,
                    ": values: expected floating point [nnz], got ", csr.values.scalar_type(), " ", csr.values.sizes());
  check_vector(op, "col_indices", csr.col_indices, at::kInt, csr.values.numel());
  check_vector(op, "row_offsets", csr.row_offsets, at::kInt, rows + 1);
  CsrWeight host = csr;
  host.col_indices = csr.col_indices.cpu().contiguous();
  host.row_offsets = csr.row_offsets.cpu().contiguous();
  const auto defect = formats::csr_defect(view_of(host, rows, cols));
  TORCH_CHECK_VALUE(defect.empty(), op, ": unsound structure: ", defect);
  check_vector(op, "key", csr.key, at::kLong, 2);
  // The key covers the sizes: this is where a layer of another in_features shows.
  TORCH_CHECK_VALUE(csr.key.cpu().equal(key_tensor(host, rows, cols)), op, ": key: expected that of a ", rows, " x ", cols,
                    " weight with this structure, got another: the archive belongs to a layer of another size, or is damaged");
  return csr;
}

at::Tensor read_bias(const std::string& op, torch::serialize::InputArchive& archive, int64_t rows, bool expected) {
  at::Tensor bias;
  const bool found = archive.try_read("bias", bias);
  TORCH_CHECK_VALUE(found == expected, op, ": bias: the layer has ", expected ? "one" : "none", ", the archive ",
                    found ? "one" : "none");
  if (found) {
    TORCH_CHECK_VALUE(bias.dim() == 1 && bias.size(0) == rows && bias.is_floating_point(), op,
                      ": bias: expected floating point [", rows, "], got ", bias.scalar_type(), " ", bias.sizes());
  }
  return bias;
}

void assign_parameter(at::Tensor to, const at::Tensor& from) {
  const at::NoGradGuard no_grad;
  if (to.grad().defined() && to.sizes() != from.sizes()) {
    to.mutable_grad().reset();  // the gradient of other entries
  }
  to.set_data(from.detach());
}

void assign(CsrWeight to, const CsrWeight& from) {
  assign_parameter(to.values, from.values);
  to.col_indices.set_data(from.col_indices);
  to.row_offsets.set_data(from.row_offsets);
  to.key.set_data(from.key);
}

void move_tensors(torch::nn::Module& module, std::optional<torch::Device> device, std::optional<torch::Dtype> dtype,
                  bool non_blocking) {
  TORCH_CHECK_VALUE(!dtype.has_value() || c10::isFloatingType(*dtype), module.name(),
                    "::to: dtype: expected a floating-point type, got ", *dtype);
  const auto move = [&](at::Tensor& tensor) {
    const auto target = tensor.is_floating_point() && dtype.has_value() ? *dtype : tensor.scalar_type();
    tensor.set_data(tensor.to(device.value_or(tensor.device()), target, non_blocking));
  };
  for (auto& parameter : module.named_parameters(/*recurse=*/false)) {
    move(parameter.value());
  }
  for (auto& buffer : module.named_buffers(/*recurse=*/false)) {
    move(buffer.value());
  }
}

void drop_registered(torch::nn::Module& module) {
  // Buffers cannot be unregistered one by one: an empty module takes the place of the base.
  torch::nn::Module fresh(module.name());
  fresh.train(module.is_training());
  module = fresh;
}

at::Tensor dense_sum(const char* op, const at::Tensor& output, const at::Tensor& residual) {
  if (!residual.defined()) return output;
  TORCH_CHECK_VALUE(residual.sizes() == output.sizes(), op, ": residual: expected ", output.sizes(), ", got ", residual.sizes());
  return output + residual;
}

std::optional<std::array<int64_t, 2>> zero_padding(const torch::nn::detail::ConvNdOptions<2>& options) {
  if (const auto* padding = std::get_if<torch::ExpandingArray<2>>(&options.padding())) {
    return std::array<int64_t, 2>{(**padding)[0], (**padding)[1]};
  }
  if (std::holds_alternative<torch::enumtype::kValid>(options.padding())) {
    return std::array<int64_t, 2>{0, 0};
  }
  std::array<int64_t, 2> padding{};
  for (size_t dim = 0; dim < 2; ++dim) {
    const int64_t total = (*options.dilation())[dim] * ((*options.kernel_size())[dim] - 1);
    if (total % 2 != 0) {
      return std::nullopt;
    }
    padding[dim] = total / 2;
  }
  return padding;
}

std::string conv_obstacle(const torch::nn::detail::ConvNdOptions<2>& options) {
  if (!std::holds_alternative<torch::enumtype::kZeros>(options.padding_mode())) {
    return "padding_mode '" + torch::enumtype::get_enum_name(options.padding_mode()).substr(1) + "' has no sparse kernel";
  }
  if (!zero_padding(options).has_value()) {
    return "padding 'same' is asymmetric for this kernel size and has no sparse kernel";
  }
  return options.transposed() ? "a transposed convolution has no sparse kernel" : "";
}

void check_conv(const std::string& module, const torch::nn::detail::ConvNdOptions<2>& options) {
  TORCH_CHECK_VALUE(options.groups() > 0 && options.in_channels() > 0 && options.out_channels() > 0 &&
                        options.in_channels() % options.groups() == 0 && options.out_channels() % options.groups() == 0,
                    module, ": expected in_channels and out_channels that are multiples of groups, got ",
                    options.in_channels(), ", ", options.out_channels(), ", groups ", options.groups());
  const auto obstacle = conv_obstacle(options);
  if (!obstacle.empty()) {
    throw PatternError(module + ": " + obstacle);
  }
}

int64_t conv_cols(const torch::nn::detail::ConvNdOptions<2>& options) {
  return options.in_channels() / options.groups() * (*options.kernel_size())[0] * (*options.kernel_size())[1];
}

}  // namespace jouleprune::nn
