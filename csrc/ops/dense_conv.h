// Torch's convolution of a dense weight and its gradients, for what no kernel here takes or is predicted to win.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>

#include <optional>

namespace jouleprune::ops {

/// Sizes of a convolution beside those of its tensors.
struct ConvGeometry {
  at::IntArrayRef kernel_size, stride, padding, dilation;
  int64_t groups;
};

// weight: [out_channels, in_channels / groups, kernel height, kernel width].
inline at::Tensor dense_conv(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias, const ConvGeometry& g) {
  return at::conv2d(input, weight, bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt, g.stride, g.padding, g.dilation,
                    g.groups);
}
inline at::Tensor dense_conv_grad_input(const at::Tensor& grad_output, at::IntArrayRef input_size, const at::Tensor& weight,
                                        const ConvGeometry& g) {
  return std::get<0>(at::convolution_backward(grad_output, at::empty(input_size, grad_output.options()), weight, std::nullopt,
                                              g.stride, g.padding, g.dilation, /*transposed=*/false, {0, 0}, g.groups,
                                              {true, false, false}))
      .contiguous();
}
inline at::Tensor dense_conv_grad_weight(const at::Tensor& grad_output, const at::Tensor& input, at::IntArrayRef weight_size,
                                         const ConvGeometry& g) {
  return std::get<1>(at::convolution_backward(grad_output, input, at::empty(weight_size, input.options()), std::nullopt, g.stride,
                                              g.padding, g.dilation, /*transposed=*/false, {0, 0}, g.groups, {false, true, false}));
}

}  // namespace jouleprune::ops
