// conv2d_bsr and its gradients, as launchers take them. Pointers are of the device; knows neither torch nor CUDA.
#pragma once
#include "bsr/linear_bsr.h"
#include "conv/conv_csr.h"
#include "conv/images.h"

namespace jouleprune::cuda::conv {

/// The weight [out_channels, taps * channels] of each group of the convolution, tap by tap (kernel row by row), the
/// channels of a group filled up to whole blocks: a block lies at one tap. That padding is not looked at.
struct BsrShape {
  ConvShape conv;
  int32_t groups;
};

/// How the pixels of one image read another: a convolution its input, the gradient of the input that of the output.
struct View {
  int64_t batch, channels;  // of what is read
  int32_t height, width;
  RowMap rows, columns;
  int32_t kernel_w;
  int32_t out_channels, out_height, out_width;

  JP_ANYWHERE int32_t pitch() const { return (out_width + 7) / 8 * 8; }
  /// Whether an image is read as it lies: nothing is shifted or thinned, and its rows are whole chunks.
  JP_ANYWHERE bool direct() const {
    return kernel_w == 1 && columns.mul == 1 && columns.add == 0 && columns.div == 1 && width == out_width && width % 8 == 0;
  }
  /// Elements of the scratch for shifted planes, at a multiple of 16 bytes.
  JP_ANYWHERE int64_t scratch() const { return direct() ? 0 : batch * kernel_w * channels * height * pitch(); }
};
View forward_view(const BsrShape& shape);
View input_view(const BsrShape& shape);  // of grad_output
View plain_view(const BsrShape& shape);  // of grad_output, pixel by pixel

/// Whether 32 bits and a grid are enough, and no block row lies in two groups: others are for torch's dense convolution.
bool fits(const BsrShape& shape, int64_t r);

struct BsrConv {
  bsr::Weight weight;
  BsrShape shape;
  const Window* windows;  // conv/windows.h
  const void* input;      // contiguous, at a multiple of 16 bytes
  void* planes;           // forward_view(shape).scratch() elements
  void* output;
  Epilogue epilogue;
};

struct BsrConvInput {
  bsr::Weight weight;
  bsr::Transposed transposed;  // of transposed_lists()
  BsrShape shape;
  const Window* windows;  // transposed ones
  const void* grad_output;
  void* planes;  // input_view(shape).scratch() elements
  void* grad_input;
};

/// weight.values is not read.
struct BsrConvBlocks {
  bsr::Weight weight;
  BsrShape shape;
  const Window* windows;
  const void *grad_output, *input;
  void *grad_planes, *planes;  // plain_view(shape).scratch(), forward_view(shape).scratch() elements
  void* grad_blocks;           // [blocks, r, c], at a multiple of 16 bytes
};

}  // namespace jouleprune::cuda::conv
