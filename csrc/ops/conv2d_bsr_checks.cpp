#include "ops/conv2d_bsr_checks.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/repeat_interleave.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace jouleprune::ops {

ConvBsr check_conv_bsr(const char* op, BsrArguments arguments, at::IntArrayRef input_size, const ConvGeometry& g,
                       const at::Tensor& like, const char* like_name) {
  if (arguments.blocks == nullptr) {
    check_block_size(op, arguments.block_size);
  }
  // Blocks of other dimensions are refused below.
  const int64_t c = arguments.blocks == nullptr       ? arguments.block_size[1]
                    : arguments.blocks->dim() == 3 ? std::max<int64_t>(1, arguments.blocks->size(2))
                                                   : 1;
  const int64_t channels = input_size[1] / g.groups;
  arguments.cols = g.kernel_size[0] * g.kernel_size[1] * ((channels + c - 1) / c) * c;
  arguments.rows_name = "out_channels";
  arguments.cols_name = "taps x channels of a group";
  auto weight = check_bsr_weight(op, arguments, like, like_name);
  return {std::move(weight),
          check_conv(op, input_size, arguments.rows, g.kernel_size, g.stride, g.padding, g.dilation, g.groups)};
}

int64_t output_channels(const char* op, const at::Tensor& grad_output) {
  TORCH_CHECK_VALUE(grad_output.dim() == 4, op, ": grad_output: expected [n, out_channels, h, w], got ", grad_output.sizes());
  return grad_output.size(1);
}

at::Tensor conv_weight_of(const at::Tensor& matrix, const ConvBsr& conv) {
  const auto& s = conv.shape;
  return matrix.view({s.out_channels, s.kernel_h, s.kernel_w, conv.tap_columns()})
      .narrow(3, 0, conv.group_channels())
      .permute({0, 3, 1, 2})
      .contiguous();
}

at::Tensor kept_blocks_of(const at::Tensor& conv_weight, const ConvBsr& conv) {
  const auto& bsr = conv.weight.bsr;
  const auto padded = at::constant_pad_nd(conv_weight.permute({0, 2, 3, 1}),
                                          {0, conv.tap_columns() - conv.group_channels(), 0, 0, 0, 0, 0, bsr.down() * bsr.r - bsr.rows});
  const auto grid = padded.reshape({bsr.down(), bsr.r, bsr.across(), bsr.c}).permute({0, 2, 1, 3});
  const auto& offsets = conv.weight.block_row_offsets;
  const auto down = at::repeat_interleave(offsets.slice(0, 1) - offsets.slice(0, 0, -1), std::make_optional(bsr.blocks)).to(at::kLong);
  return grid.index({down, conv.weight.block_columns.to(at::kLong)}).contiguous();
}

}  // namespace jouleprune::ops
