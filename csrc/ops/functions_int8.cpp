// The public functions of ops_int8.h: calls through the dispatcher, nothing else.
#include <jouleprune/ops_int8.h>

#include "ops/signatures.h"

namespace jouleprune {

using namespace ops;

namespace {
using PackBsrInt8 = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>(const Tensor& weight, const OptionalTensor& mask);
using UnpackBsrInt8 = Tensor(const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets, const Tensor& scales,
                             c10::SymInt cols);
using LinearBsrInt8 = Tensor(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                             const Tensor& key, const Tensor& scales, const OptionalTensor& input_scale,
                             const OptionalTensor& prepacked, const OptionalTensor& bias, c10::SymInt in_features,
                             std::string_view activation);
using Conv2dBsrInt8 = Tensor(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                             const Tensor& key, const Tensor& scales, const OptionalTensor& input_scale,
                             const OptionalTensor& prepacked, const OptionalTensor& bias, c10::SymInt in_channels,
                             at::IntArrayRef kernel_size, at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation,
                             int64_t groups, std::string_view activation);
}  // namespace

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> pack_bsr_int8(const Tensor& weight, const OptionalTensor& mask) {
  static const auto op = find_op<PackBsrInt8>("jouleprune::pack_bsr_int8");
  return op.call(weight, mask);
}

Tensor unpack_bsr_int8(const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets, const Tensor& scales,
                       c10::SymInt cols) {
  static const auto op = find_op<UnpackBsrInt8>("jouleprune::unpack_bsr_int8");
  return op.call(blocks, block_columns, block_row_offsets, scales, std::move(cols));
}

Tensor linear_bsr_int8(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                       const Tensor& key, const Tensor& scales, const OptionalTensor& input_scale, const OptionalTensor& prepacked,
                       const OptionalTensor& bias, c10::SymInt in_features, std::string_view activation) {
  static const auto op = find_op<LinearBsrInt8>("jouleprune::linear_bsr_int8");
  return op.call(input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias, std::move(in_features),
                 activation);
}

Tensor conv2d_bsr_int8(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                       const Tensor& key, const Tensor& scales, const OptionalTensor& input_scale, const OptionalTensor& prepacked,
                       const OptionalTensor& bias, c10::SymInt in_channels, at::IntArrayRef kernel_size, at::IntArrayRef stride,
                       at::IntArrayRef padding, at::IntArrayRef dilation, int64_t groups, std::string_view activation) {
  static const auto op = find_op<Conv2dBsrInt8>("jouleprune::conv2d_bsr_int8");
  return op.call(input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias, std::move(in_channels),
                 kernel_size, stride, padding, dilation, groups, activation);
}

}  // namespace jouleprune
