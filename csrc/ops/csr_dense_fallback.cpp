// Ops of layout csr that have no CUDA kernel of their own (packing, convolutions), by torch's ops on the unpacked weight: right, not
// fast.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/repeat_interleave.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include "ops/csr_checks.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

using Sizes = at::IntArrayRef;

/// Flat index into the dense weight of each kept entry.
Tensor places_of(const CsrWeight& weight) {
  const auto counts = weight.row_offsets.slice(0, 1) - weight.row_offsets.slice(0, 0, -1);
  const auto rows = at::repeat_interleave(counts, std::make_optional(weight.csr.nnz));
  return rows.to(at::kLong) * weight.csr.cols + weight.col_indices;
}

Tensor dense_of(const CsrWeight& weight) {
  auto dense = at::zeros({weight.csr.rows * weight.csr.cols}, weight.values.options());
  return dense.index_copy_(0, places_of(weight), weight.values).view({weight.csr.rows, weight.csr.cols});
}

std::tuple<Tensor, Tensor, Tensor, Tensor> pack_csr_by_cpu(const Tensor& weight, const OptionalTensor& mask) {
  static const auto op = find_op<PackCsr>("jouleprune::pack_csr");
  const auto host_mask = mask.has_value() && mask->defined() ? OptionalTensor(mask->cpu()) : std::nullopt;
  const auto [values, col_indices, row_offsets, key] = op.call(weight.detach().cpu(), host_mask);
  return {values.to(weight.device()), col_indices.to(weight.device()), row_offsets.to(weight.device()), key.to(weight.device())};
}

Tensor unpack_csr_dense(const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets, int64_t cols) {
  const at::NoGradGuard no_grad;
  return dense_of(check_weight_in_full("unpack_csr", values, col_indices, row_offsets, cols));
}

Tensor prepack_csr_dense(const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets, int64_t cols) {
  check_weight_in_full("prepack_csr", values, col_indices, row_offsets, cols);
  return at::empty({0}, col_indices.options());
}

/// The dense weight as a convolution's.
Tensor conv_weight(const CsrWeight& weight, int64_t in_channels, int64_t groups, Sizes kernel_size) {
  return dense_of(weight).view({weight.csr.rows, in_channels / groups, kernel_size[0], kernel_size[1]});
}

Tensor conv2d_csr_dense(const Tensor& input, const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets,
                        const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias, int64_t in_channels,
                        Sizes kernel_size, Sizes stride, Sizes padding, Sizes dilation, int64_t groups,
                        std::string_view activation, const OptionalTensor& residual) {
  constexpr const char* op = "conv2d_csr";
  const auto act = parse_activation(op, activation);
  const auto cols = check_conv_input(op, input, in_channels, kernel_size, groups);
  const auto weight = check_weight(op, &values, col_indices, row_offsets, key, cols, input, "input");
  check_conv(op, input.sizes(), weight.csr.rows, kernel_size, stride, padding, dilation, groups);
  check_prepacked(op, prepacked);
  const auto checked_bias = check_bias(op, bias, weight.csr.rows, input);
  const auto product = at::conv2d(input, conv_weight(weight, in_channels, groups, kernel_size),
                                  checked_bias.defined() ? OptionalTensor(checked_bias) : std::nullopt, stride, padding, dilation,
                                  groups);
  return finish(act, product, check_residual(op, residual, product, input));
}

Tensor conv2d_backward_input_dense(const Tensor& grad_output, const Tensor& values, const Tensor& col_indices,
                                   const Tensor& row_offsets, const Tensor& key, Sizes input_size, Sizes kernel_size, Sizes stride,
                                   Sizes padding, Sizes dilation, int64_t groups) {
  constexpr const char* op = "conv2d_csr_backward_input";
  const auto cols = check_conv_grad(op, grad_output, input_size, kernel_size, groups);
  const auto weight = check_weight(op, &values, col_indices, row_offsets, key, cols, grad_output, "grad_output");
  check_grad_output(op, grad_output, check_conv(op, input_size, weight.csr.rows, kernel_size, stride, padding, dilation, groups));
  const auto like_input = at::empty(input_size, grad_output.options());
  return std::get<0>(at::convolution_backward(grad_output, like_input, conv_weight(weight, input_size[1], groups, kernel_size),
                                              std::nullopt, stride, padding, dilation, /*transposed=*/false, {0, 0}, groups,
                                              {true, false, false}))
      .contiguous();
}

Tensor conv2d_backward_values_dense(const Tensor& grad_output, const Tensor& input, const Tensor& col_indices,
                                    const Tensor& row_offsets, const Tensor& key, Sizes kernel_size, Sizes stride, Sizes padding,
                                    Sizes dilation, int64_t groups) {
  constexpr const char* op = "conv2d_csr_backward_values";
  const auto cols = check_conv_grad(op, grad_output, input.sizes(), kernel_size, groups);
  check_alike(op, grad_output, input);
  const auto weight = check_weight(op, nullptr, col_indices, row_offsets, key, cols, grad_output, "grad_output");
  check_grad_output(op, grad_output,
                    check_conv(op, input.sizes(), weight.csr.rows, kernel_size, stride, padding, dilation, groups));
  const auto like_weight = at::empty({weight.csr.rows, input.size(1) / groups, kernel_size[0], kernel_size[1]}, input.options());
  const auto grad_weight = std::get<1>(at::convolution_backward(grad_output, input, like_weight, std::nullopt, stride, padding,
                                                                dilation, /*transposed=*/false, {0, 0}, groups,
                                                                {false, true, false}));
  return grad_weight.reshape({weight.csr.rows * cols}).index_select(0, places_of(weight));
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CUDA, m) {
  m.impl("pack_csr", TORCH_FN(jouleprune::ops::pack_csr_by_cpu));
  m.impl("unpack_csr", TORCH_FN(jouleprune::ops::unpack_csr_dense));
  m.impl("prepack_csr", TORCH_FN(jouleprune::ops::prepack_csr_dense));
  m.impl("conv2d_csr", TORCH_FN(jouleprune::ops::conv2d_csr_dense));
  m.impl("conv2d_csr_backward_input", TORCH_FN(jouleprune::ops::conv2d_backward_input_dense));
  m.impl("conv2d_csr_backward_values", TORCH_FN(jouleprune::ops::conv2d_backward_values_dense));
}
