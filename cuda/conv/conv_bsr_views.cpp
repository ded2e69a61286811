#include <limits>

#include "conv/conv_bsr.h"

namespace jouleprune::cuda::conv {
namespace {

/// A kernel of one tap without stride and padding knows no rows: an image is one row of pixels.
ConvShape flattened(ConvShape s) {
  const bool pointwise = s.taps() == 1 && s.stride_h == 1 && s.stride_w == 1 && s.padding_h == 0 && s.padding_w == 0;
  if (pointwise) {
    s.width = s.out_width = s.height * s.width;
    s.height = s.out_height = 1;
  }
  return s;
}

}  // namespace

View forward_view(const BsrShape& shape) {
  const auto s = flattened(shape.conv);
  return {s.batch,
          s.in_channels,
          s.height,
          s.width,
          {s.stride_h, -s.padding_h, s.dilation_h, 1},
          {s.stride_w, -s.padding_w, s.dilation_w, 1},
          s.kernel_w,
          s.out_channels,
          s.out_height,
          s.out_width};
}

View input_view(const BsrShape& shape) {
  const auto s = flattened(shape.conv);
  return {s.batch,
          s.out_channels,
          s.out_height,
          s.out_width,
          {1, s.padding_h, -s.dilation_h, s.stride_h},
          {1, s.padding_w, -s.dilation_w, s.stride_w},
          s.kernel_w,
          s.in_channels,
          s.height,
          s.width};
}

View plain_view(const BsrShape& shape) {
  const auto s = flattened(shape.conv);
  return {s.batch,      s.out_channels, s.out_height, s.out_width, {1, 0, 0, 1}, {1, 0, 0, 1}, 1,
          s.out_channels, s.out_height,   s.out_width};
}

bool fits(const BsrShape& shape, int64_t r) {
  const auto& s = shape.conv;
  const auto tokens = [](const View& v) { return static_cast<double>(v.batch) * v.out_height * v.pitch(); };
  constexpr double kMostTokens = 65535.0 * 128, kMost = std::numeric_limits<int32_t>::max();
  const double taps = static_cast<double>(s.kernel_h) * s.kernel_w;
  return fits(s) && tokens(forward_view(shape)) <= kMostTokens && tokens(input_view(shape)) <= kMostTokens &&
         taps * s.in_channels <= kMost && taps * s.out_channels <= kMost &&
         (shape.groups == 1 || s.out_channels / shape.groups % r == 0);
}

}  // namespace jouleprune::cuda::conv
