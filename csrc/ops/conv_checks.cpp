// The checks of convolutions; see csr_checks.h.
#include <array>

#include "ops/limits.h"

#include "ops/csr_checks.h"

namespace jouleprune::ops {
namespace {


/// Columns of the weight; refuses what would overflow (the other sizes are not yet checked).
int64_t weight_cols(const char* op, int64_t in_channels, at::IntArrayRef kernel_size, int64_t groups) {
  constexpr int64_t kMaxKernel = (1 << 15) - 1;
  TORCH_CHECK_VALUE(groups >= 1 && in_channels % groups == 0, op, ": groups: expected a positive divisor of in_channels = ",
                    in_channels, ", got ", groups);
  TORCH_CHECK_VALUE(kernel_size.size() == 2 && kernel_size[0] >= 1 && kernel_size[1] >= 1 && kernel_size[0] <= kMaxKernel &&
                        kernel_size[1] <= kMaxKernel,
                    op, ": kernel_size: expected two numbers from 1 to ", kMaxKernel, ", got ", kernel_size);
  TORCH_CHECK_VALUE(in_channels >= 0 && in_channels <= kLimit, op, ": in_channels: expected 0 to ", kLimit, ", got ", in_channels);
  return in_channels / groups * kernel_size[0] * kernel_size[1];
}

}  // namespace

int64_t check_conv_input(const char* op, const at::Tensor& input, int64_t in_channels, at::IntArrayRef kernel_size,
                         int64_t groups) {
  check_element_type(op, "input", input);
  TORCH_CHECK_VALUE(input.dim() == 4 && input.size(1) == in_channels, op, ": input: expected [n, in_channels = ", in_channels,
                    ", h, w], got ", input.sizes());
  return weight_cols(op, in_channels, kernel_size, groups);
}

int64_t check_conv_grad(const char* op, const at::Tensor& grad_output, at::IntArrayRef input_size, at::IntArrayRef kernel_size,
                        int64_t groups) {
  check_element_type(op, "grad_output", grad_output);
  TORCH_CHECK_VALUE(input_size.size() == 4, op, ": input: expected [n, in_channels, h, w], got ", input_size);
  return weight_cols(op, input_size[1], kernel_size, groups);
}

void check_grad_output(const char* op, const at::Tensor& grad_output, const kernels::csr::ConvShape& shape) {
  const std::array<int64_t, 4> expected = {shape.batch, shape.out_channels, shape.out_height(), shape.out_width()};
  TORCH_CHECK_VALUE(grad_output.sizes() == at::IntArrayRef(expected), op, ": grad_output: expected ", at::IntArrayRef(expected),
                    ", got ", grad_output.sizes());
}

kernels::csr::ConvShape check_conv(const char* op, at::IntArrayRef input_size, int64_t rows, at::IntArrayRef kernel_size,
                                   at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation, int64_t groups) {
  TORCH_CHECK_VALUE(input_size.size() == 4, op, ": input: expected [n, in_channels, h, w], got ", input_size);
  const auto check_pair = [&](const char* name, at::IntArrayRef pair, int64_t least) {
    TORCH_CHECK_VALUE(pair.size() == 2 && pair[0] >= least && pair[1] >= least && pair[0] <= kLimit && pair[1] <= kLimit, op, ": ",
                      name, ": expected two numbers from ", least, " to ", kLimit, ", got ", pair);
  };
  check_pair("kernel_size", kernel_size, 1);
  check_pair("stride", stride, 1);
  check_pair("padding", padding, 0);
  check_pair("dilation", dilation, 1);
  for (const int64_t size : input_size) {
    TORCH_CHECK_VALUE(size >= 0 && size <= kLimit, op, ": input: expected sizes from 0 to ", kLimit, ", got ", input_size);
  }
  TORCH_CHECK_VALUE(groups >= 1 && input_size[1] % groups == 0 && rows % groups == 0, op,
                    ": groups: expected a positive number that divides in_channels = ", input_size[1], " and out_channels = ", rows,
                    ", got ", groups);
  const kernels::csr::ConvShape shape{input_size[0], input_size[1], input_size[2], input_size[3], rows,
                                      kernel_size[0], kernel_size[1], stride[0],   stride[1],
                                      padding[0],     padding[1],     dilation[0], dilation[1], groups};
  TORCH_CHECK_VALUE(shape.height + 2 * shape.padding_h > shape.dilation_h * (shape.kernel_h - 1) &&
                        shape.width + 2 * shape.padding_w > shape.dilation_w * (shape.kernel_w - 1),
                    op, ": input: expected at least the size of the kernel, got ", input_size, " with kernel_size ", kernel_size,
                    ", padding ", padding, ", dilation ", dilation);
  return shape;
}

}  // namespace jouleprune::ops
