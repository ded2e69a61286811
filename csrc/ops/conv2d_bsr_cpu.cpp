// conv2d_bsr and its backward ops on the CPU: linear_bsr of the input's patches, one batch row per output pixel. With several groups, whose
// patches would be mostly of other groups' channels, torch's convolution of the unpacked weight.
#include <ATen/core/Tensor.h>
#include <ATen/ops/col2im.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/im2col.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include "ops/conv2d_bsr_checks.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

using Sizes = at::IntArrayRef;

/// [pixels of all images, taps x columns of a tap]
Tensor patches_of(const Tensor& input, const ConvBsr& conv, const ConvGeometry& g) {
  const auto& s = conv.shape;
  const int64_t pixels = s.out_height() * s.out_width();
  if (input.numel() == 0) {
    return at::zeros({s.batch * pixels, conv.weight.bsr.cols}, input.options());
  }
  const auto columns = at::im2col(input, g.kernel_size, g.dilation, g.padding, g.stride);
  const auto by_tap = columns.view({s.batch, s.in_channels, conv.taps(), pixels}).permute({0, 3, 2, 1});
  return at::constant_pad_nd(by_tap, {0, conv.tap_columns() - s.in_channels}).reshape({s.batch * pixels, conv.weight.bsr.cols});
}

/// [n, channels, height, width] -> [n x pixels, channels]
Tensor pixel_rows(const Tensor& images) { return images.permute({0, 2, 3, 1}).reshape({-1, images.size(1)}); }

Tensor dense_weight(const ConvBsr& conv) {
  static const auto unpack = find_op<UnpackBsr>("jouleprune::unpack_bsr");
  const auto& w = conv.weight;
  return conv_weight_of(unpack.call(w.blocks, w.block_columns, w.block_row_offsets, w.bsr.rows, w.bsr.cols), conv);
}

Tensor conv2d_bsr_cpu(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                      const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias, int64_t out_channels,
                      int64_t in_channels, Sizes kernel_size, Sizes stride, Sizes padding, Sizes dilation, int64_t groups,
                      std::string_view activation, const OptionalTensor& residual) {
  constexpr const char* op = "conv2d_bsr";
  const ConvGeometry geometry{kernel_size, stride, padding, dilation, groups};
  const auto act = parse_activation(op, activation);
  check_conv_input(op, input, in_channels, kernel_size, groups);
  const auto conv = check_conv_bsr(op, {&blocks, {}, block_columns, block_row_offsets, &key, out_channels, 0}, input.sizes(), geometry,
                                   input, "input");
  check_prepacked(op, prepacked, "prepack_bsr");
  const auto checked_bias = check_bias(op, bias, out_channels, input);
  const auto& s = conv.shape;
  Tensor product;
  if (groups > 1 && input.numel() > 0 && out_channels > 0) {
    product = dense_conv(input, dense_weight(conv), checked_bias, geometry).contiguous();
  } else {
    static const auto linear = find_op<LinearBsr>("jouleprune::linear_bsr");
    product = linear.call(patches_of(input, conv, geometry), blocks, block_columns, block_row_offsets, key, std::nullopt, bias,
                          out_channels, conv.weight.bsr.cols, "none")
                  .view({s.batch, s.out_height(), s.out_width(), out_channels})
                  .permute({0, 3, 1, 2})
                  .contiguous();
  }
  return finish(act, product, check_residual(op, residual, product, input));
}

Tensor conv2d_bsr_backward_input_cpu(const Tensor& grad_output, const Tensor& blocks, const Tensor& block_columns,
                                     const Tensor& block_row_offsets, const Tensor& key, Sizes input_size, Sizes kernel_size,
                                     Sizes stride, Sizes padding, Sizes dilation, int64_t groups) {
  constexpr const char* op = "conv2d_bsr_backward_input";
  const ConvGeometry geometry{kernel_size, stride, padding, dilation, groups};
  check_conv_grad(op, grad_output, input_size, kernel_size, groups);
  const auto conv = check_conv_bsr(op, {&blocks, {}, block_columns, block_row_offsets, &key, output_channels(op, grad_output), 0},
                                   input_size, geometry, grad_output, "grad_output");
  check_grad_output(op, grad_output, conv.shape);
  const auto& s = conv.shape;
  if (grad_output.numel() == 0 || s.in_channels == 0) {
    return at::zeros(input_size, grad_output.options());
  }
  if (groups > 1) {
    return dense_conv_grad_input(grad_output, input_size, dense_weight(conv), geometry);
  }
  static const auto linear = find_op<LinearBsrBackwardInput>("jouleprune::linear_bsr_backward_input");
  const auto columns = linear.call(pixel_rows(grad_output), blocks, block_columns, block_row_offsets, key, s.out_channels,
                                   conv.weight.bsr.cols);
  const auto by_channel = columns.view({s.batch, s.out_height() * s.out_width(), conv.taps(), conv.tap_columns()})
                              .narrow(3, 0, s.in_channels)
                              .permute({0, 3, 2, 1})
                              .reshape({s.batch, s.in_channels * conv.taps(), s.out_height() * s.out_width()});
  return at::col2im(by_channel, {s.height, s.width}, kernel_size, dilation, padding, stride).contiguous();
}

Tensor conv2d_bsr_backward_values_cpu(const Tensor& grad_output, const Tensor& input, const Tensor& block_columns,
                                      const Tensor& block_row_offsets, const Tensor& key, Sizes block_size, Sizes kernel_size,
                                      Sizes stride, Sizes padding, Sizes dilation, int64_t groups) {
  constexpr const char* op = "conv2d_bsr_backward_values";
  const ConvGeometry geometry{kernel_size, stride, padding, dilation, groups};
  check_conv_grad(op, grad_output, input.sizes(), kernel_size, groups);
  check_alike(op, grad_output, input);
  const auto conv = check_conv_bsr(op, {nullptr, block_size, block_columns, block_row_offsets, &key, output_channels(op, grad_output), 0},
                                   input.sizes(), geometry, grad_output, "grad_output");
  check_grad_output(op, grad_output, conv.shape);
  const auto& s = conv.shape;
  if (groups > 1 && input.numel() > 0 && grad_output.numel() > 0) {
    const int64_t sizes[] = {s.out_channels, conv.group_channels(), s.kernel_h, s.kernel_w};
    return kept_blocks_of(dense_conv_grad_weight(grad_output, input, sizes, geometry), conv);
  }
  static const auto linear = find_op<LinearBsrBackwardValues>("jouleprune::linear_bsr_backward_values");
  const auto size = c10::fromIntArrayRefSlow(block_size);
  return linear.call(pixel_rows(grad_output), patches_of(input, conv, geometry), block_columns, block_row_offsets, key, size,
                     s.out_channels, conv.weight.bsr.cols);
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CPU, m) {
  m.impl("conv2d_bsr", TORCH_FN(jouleprune::ops::conv2d_bsr_cpu));
  m.impl("conv2d_bsr_backward_input", TORCH_FN(jouleprune::ops::conv2d_bsr_backward_input_cpu));
  m.impl("conv2d_bsr_backward_values", TORCH_FN(jouleprune::ops::conv2d_bsr_backward_values_cpu));
}
