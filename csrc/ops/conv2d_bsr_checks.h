// Argument checks that conv2d_bsr and its backward ops share, and how their weight [out_channels, taps x channels] stands to that of a
// dense convolution.
#pragma once
#include <ATen/core/Tensor.h>

#include "ops/bsr_checks.h"
#include "ops/csr_checks.h"
#include "ops/dense_conv.h"

namespace jouleprune::ops {

/// A checked weight and its convolution.
struct ConvBsr {
  BsrWeight weight;
  kernels::csr::ConvShape shape;

  int64_t group_channels() const { return shape.in_channels / shape.groups; }
  int64_t taps() const { return shape.kernel_h * shape.kernel_w; }
  /// Channels of a group, rounded up to whole blocks: columns of one tap.
  int64_t tap_columns() const { return weight.bsr.cols / taps(); }
};

/// `arguments`: rows = out_channels; cols are filled in. `like`: the dense argument, checked before.
ConvBsr check_conv_bsr(const char* op, BsrArguments arguments, at::IntArrayRef input_size, const ConvGeometry& geometry,
                       const at::Tensor& like, const char* like_name);

/// Of a grad_output [n, out_channels, h, w], checked by nothing yet but its dtype.
int64_t output_channels(const char* op, const at::Tensor& grad_output);

/// matrix [out_channels, taps x tap_columns()] -> [out_channels, channels of a group, kernel height, kernel width].
at::Tensor conv_weight_of(const at::Tensor& matrix, const ConvBsr& conv);
/// A gradient of that weight -> that of the kept blocks [blocks, r, c], 0 for padding.
at::Tensor kept_blocks_of(const at::Tensor& conv_weight, const ConvBsr& conv);

}  // namespace jouleprune::ops
