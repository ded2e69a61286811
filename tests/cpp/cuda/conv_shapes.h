// Sizes of convolutions for the tests.
#pragma once
#include "conv/conv_params.h"

namespace jouleprune::cuda::conv {

/// With the sizes of the output that follow from the rest.
inline ConvShape completed(ConvShape s) {
  s.out_height = (s.padded_height() - s.dilation_h * (s.kernel_h - 1) - 1) / s.stride_h + 1;
  s.out_width = (s.padded_width() - s.dilation_w * (s.kernel_w - 1) - 1) / s.stride_w + 1;
  return s;
}

}  // namespace jouleprune::cuda::conv
