// What the kernels of conv2d_csr are given. Images are [batch, channels, height, width], contiguous.
#pragma once
#include <cstdint>

#include "csr/csr_params.h"

namespace jouleprune::cuda::conv {

struct ConvShape {
  int64_t batch;
  int32_t in_channels, height, width;  // of the input, without padding
  int32_t out_channels, out_height, out_width;
  int32_t kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;

  JP_ANYWHERE int32_t taps() const { return kernel_h * kernel_w; }
  JP_ANYWHERE int32_t padded_height() const { return height + 2 * padding_h; }
  JP_ANYWHERE int32_t padded_width() const { return width + 2 * padding_w; }
  JP_ANYWHERE int32_t padded_plane() const { return padded_height() * padded_width(); }
  JP_ANYWHERE int64_t padded_image() const { return static_cast<int64_t>(in_channels) * padded_plane(); }
  JP_ANYWHERE int32_t out_plane() const { return out_height * out_width; }
  JP_ANYWHERE int64_t out_image() const { return static_cast<int64_t>(out_channels) * out_plane(); }

  /// Column (channel, row of the kernel, column of the kernel) of the weight, as a distance in a padded image.
  JP_ANYWHERE int32_t distance(int32_t column) const {
    const int32_t channel = column / taps(), tap = column % taps();
    return channel * padded_plane() + tap / kernel_w * dilation_h * padded_width() + tap % kernel_w * dilation_w;
  }
  /// Where the input of output pixel `pixel` begins in a plane of a padded image.
  JP_ANYWHERE int32_t corner(int32_t pixel) const {
    return pixel / out_width * stride_h * padded_width() + pixel % out_width * stride_w;
  }
};

/// The weight as a matrix [out_channels, in_channels * taps]: columns count over all groups, so a group reads its own channels.
struct ProductParams {
  csr::Matrix matrix;
  ConvShape shape;
  const void* input;  // padded with zeros
  void* output;
  Epilogue epilogue;
};

/// `matrix`: the transpose, [in_channels * taps, out_channels], by the index.
struct InputParams {
  csr::Matrix matrix;
  ConvShape shape;
  const void* grad_output;
  void* grad_input;  // without padding
};

/// gradient[k] = sum over images and pixels of grad_output at row(k) times the input that column(k) reads there.
struct ValuesParams {
  ConvShape shape;
  const int32_t *entry_rows, *columns;  // [nnz]
  int64_t nnz;
  const void *grad_output, *input;  // the input padded with zeros
  void* gradient;                   // [nnz]
};

/// Pixels that a warp has: kPerLane of each lane, 32 apart, so that neighbouring lanes read neighbours.
inline constexpr int kPerLane = 4, kPixels = kPerLane * simt::kLanes;

}  // namespace jouleprune::cuda::conv
