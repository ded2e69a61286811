// What the adapters of convolutions on CUDA share.
#pragma once
#include "conv/choice.h"
#include "conv/conv_params.h"
#include "kernels/csr/csr_kernels.h"
#include "ops/cuda_adapters.h"
#include "ops/dense_conv.h"

namespace jouleprune::ops {

inline cuda::conv::ConvShape launch_shape(const kernels::csr::ConvShape& s) {
  const auto i32 = [](int64_t size) { return static_cast<int32_t>(size); };
  return {s.batch, i32(s.in_channels), i32(s.height), i32(s.width), i32(s.out_channels), i32(s.out_height()), i32(s.out_width()),
          i32(s.kernel_h), i32(s.kernel_w), i32(s.stride_h), i32(s.stride_w), i32(s.padding_h), i32(s.padding_w), i32(s.dilation_h),
          i32(s.dilation_w)};
}

/// Of a weight in layout csr; other layouts fill in what they have.
inline cuda::conv::ConvWork conv_work(const kernels::csr::ConvShape& s, int64_t kept, at::ScalarType dtype) {
  const int64_t channels = s.batch * s.in_channels;
  return {cuda_element_type(dtype), s.out_channels, s.cols(), kept, s.pixels(), channels * s.height * s.width,
          channels * (s.height + 2 * s.padding_h) * (s.width + 2 * s.padding_w), 0, 1, false};
}

}  // namespace jouleprune::ops
