// The public functions of ops.h: calls through the dispatcher, nothing else.
#include <jouleprune/ops.h>

#include "ops/signatures.h"

namespace jouleprune {

using namespace ops;

std::tuple<Tensor, Tensor, Tensor, Tensor> pack_csr(const Tensor& weight, const OptionalTensor& mask) {
  static const auto op = find_op<PackCsr>("jouleprune::pack_csr");
  return op.call(weight, mask);
}

Tensor unpack_csr(const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets, c10::SymInt cols) {
  static const auto op = find_op<UnpackCsr>("jouleprune::unpack_csr");
  return op.call(values, col_indices, row_offsets, std::move(cols));
}

Tensor prepack_csr(const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets, c10::SymInt cols) {
  static const auto op = find_op<UnpackCsr>("jouleprune::prepack_csr");
  return op.call(values, col_indices, row_offsets, std::move(cols));
}

Tensor linear_csr(const Tensor& input, const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets,
                  const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias, c10::SymInt in_features,
                  std::string_view activation, const OptionalTensor& residual) {
  static const auto op = find_op<LinearCsr>("jouleprune::linear_csr");
  return op.call(input, values, col_indices, row_offsets, key, prepacked, bias, std::move(in_features), activation, residual);
}

Tensor linear_csr_backward_input(const Tensor& grad_output, const Tensor& values, const Tensor& col_indices,
                                 const Tensor& row_offsets, const Tensor& key, c10::SymInt in_features) {
  static const auto op = find_op<LinearCsrBackward>("jouleprune::linear_csr_backward_input");
  return op.call(grad_output, values, col_indices, row_offsets, key, std::move(in_features));
}

Tensor linear_csr_backward_values(const Tensor& grad_output, const Tensor& input, const Tensor& col_indices,
                                  const Tensor& row_offsets, const Tensor& key, c10::SymInt in_features) {
  static const auto op = find_op<LinearCsrBackward>("jouleprune::linear_csr_backward_values");
  return op.call(grad_output, input, col_indices, row_offsets, key, std::move(in_features));
}

Tensor conv2d_csr(const Tensor& input, const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets,
                  const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias, c10::SymInt in_channels,
                  at::IntArrayRef kernel_size, at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation,
                  int64_t groups, std::string_view activation, const OptionalTensor& residual) {
  static const auto op = find_op<Conv2dCsr>("jouleprune::conv2d_csr");
  return op.call(input, values, col_indices, row_offsets, key, prepacked, bias, std::move(in_channels), kernel_size, stride,
                 padding, dilation, groups, activation, residual);
}

Tensor conv2d_csr_backward_input(const Tensor& grad_output, const Tensor& values, const Tensor& col_indices,
                                 const Tensor& row_offsets, const Tensor& key, c10::SymIntArrayRef input_size,
                                 at::IntArrayRef kernel_size, at::IntArrayRef stride, at::IntArrayRef padding,
                                 at::IntArrayRef dilation, int64_t groups) {
  static const auto op = find_op<Conv2dCsrBackwardInput>("jouleprune::conv2d_csr_backward_input");
  return op.call(grad_output, values, col_indices, row_offsets, key, input_size, kernel_size, stride, padding, dilation, groups);
}

Tensor conv2d_csr_backward_values(const Tensor& grad_output, const Tensor& input, const Tensor& col_indices,
                                  const Tensor& row_offsets, const Tensor& key, at::IntArrayRef kernel_size,
                                  at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation, int64_t groups) {
  static const auto op = find_op<Conv2dCsrBackwardValues>("jouleprune::conv2d_csr_backward_values");
  return op.call(grad_output, input, col_indices, row_offsets, key, kernel_size, stride, padding, dilation, groups);
}

std::tuple<Tensor, Tensor, Tensor, Tensor> pack_bsr(const Tensor& weight, const OptionalTensor& mask, at::IntArrayRef block_size) {
  static const auto op = find_op<PackBsr>("jouleprune::pack_bsr");
  return op.call(weight, mask, block_size);
}

Tensor unpack_bsr(const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets, c10::SymInt rows,
                  c10::SymInt cols) {
  static const auto op = find_op<UnpackBsr>("jouleprune::unpack_bsr");
  return op.call(blocks, block_columns, block_row_offsets, std::move(rows), std::move(cols));
}

Tensor prepack_bsr(const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets, c10::SymInt rows,
                   c10::SymInt cols) {
  static const auto op = find_op<UnpackBsr>("jouleprune::prepack_bsr");
  return op.call(blocks, block_columns, block_row_offsets, std::move(rows), std::move(cols));
}

Tensor linear_bsr(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                  const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias, c10::SymInt out_features,
                  c10::SymInt in_features, std::string_view activation) {
  static const auto op = find_op<LinearBsr>("jouleprune::linear_bsr");
  return op.call(input, blocks, block_columns, block_row_offsets, key, prepacked, bias, std::move(out_features),
                 std::move(in_features), activation);
}

Tensor linear_bsr_backward_input(const Tensor& grad_output, const Tensor& blocks, const Tensor& block_columns,
                                 const Tensor& block_row_offsets, const Tensor& key, c10::SymInt out_features,
                                 c10::SymInt in_features) {
  static const auto op = find_op<LinearBsrBackwardInput>("jouleprune::linear_bsr_backward_input");
  return op.call(grad_output, blocks, block_columns, block_row_offsets, key, std::move(out_features), std::move(in_features));
}

Tensor linear_bsr_backward_values(const Tensor& grad_output, const Tensor& input, const Tensor& block_columns,
                                  const Tensor& block_row_offsets, const Tensor& key, c10::SymIntArrayRef block_size,
                                  c10::SymInt out_features, c10::SymInt in_features) {
  static const auto op = find_op<LinearBsrBackwardValues>("jouleprune::linear_bsr_backward_values");
  return op.call(grad_output, input, block_columns, block_row_offsets, key, block_size, std::move(out_features),
                 std::move(in_features));
}

Tensor conv2d_bsr(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                  const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias, c10::SymInt out_channels,
                  c10::SymInt in_channels, at::IntArrayRef kernel_size, at::IntArrayRef stride, at::IntArrayRef padding,
                  at::IntArrayRef dilation, int64_t groups, std::string_view activation, const OptionalTensor& residual) {
  static const auto op = find_op<Conv2dBsr>("jouleprune::conv2d_bsr");
  return op.call(input, blocks, block_columns, block_row_offsets, key, prepacked, bias, std::move(out_channels),
                 std::move(in_channels), kernel_size, stride, padding, dilation, groups, activation, residual);
}

Tensor conv2d_bsr_backward_input(const Tensor& grad_output, const Tensor& blocks, const Tensor& block_columns,
                                 const Tensor& block_row_offsets, const Tensor& key, c10::SymIntArrayRef input_size,
                                 at::IntArrayRef kernel_size, at::IntArrayRef stride, at::IntArrayRef padding,
                                 at::IntArrayRef dilation, int64_t groups) {
  static const auto op = find_op<Conv2dBsrBackwardInput>("jouleprune::conv2d_bsr_backward_input");
  return op.call(grad_output, blocks, block_columns, block_row_offsets, key, input_size, kernel_size, stride, padding, dilation,
                 groups);
}

Tensor conv2d_bsr_backward_values(const Tensor& grad_output, const Tensor& input, const Tensor& block_columns,
                                  const Tensor& block_row_offsets, const Tensor& key, c10::SymIntArrayRef block_size,
                                  at::IntArrayRef kernel_size, at::IntArrayRef stride, at::IntArrayRef padding,
                                  at::IntArrayRef dilation, int64_t groups) {
  static const auto op = find_op<Conv2dBsrBackwardValues>("jouleprune::conv2d_bsr_backward_values");
  return op.call(grad_output, input, block_columns, block_row_offsets, key, block_size, kernel_size, stride, padding, dilation,
                 groups);
}

Tensor pack_mask(const Tensor& mask) {
  static const auto op = find_op<PackMask>("jouleprune::pack_mask");
  return op.call(mask);
}

Tensor unpack_mask(const Tensor& bits, c10::SymIntArrayRef size) {
  static const auto op = find_op<UnpackMask>("jouleprune::unpack_mask");
  return op.call(bits, size);
}

Tensor unpack_mask(const Tensor& bits, at::IntArrayRef size) { return unpack_mask(bits, c10::fromIntArrayRefSlow(size)); }

void apply_mask_(const Tensor& self, const Tensor& bits) {
  static const auto op = find_op<ApplyMask>("jouleprune::apply_mask_");
  op.call(self, bits);
}

Tensor importance(const Tensor& weight, const OptionalTensor& grad, std::string_view criterion) {
  static const auto op = find_op<Importance>("jouleprune::importance");
  return op.call(weight, grad, criterion);
}

std::vector<Tensor> mask_smallest(at::TensorList scores, int64_t amount, at::TensorList left) {
  static const auto op = find_op<MaskSmallest>("jouleprune::mask_smallest");
  return op.call(scores, left, amount);
}

Tensor mask_n_of_m(const Tensor& scores, int64_t n, int64_t m, int64_t dim, const OptionalTensor& left) {
  static const auto op = find_op<MaskNOfM>("jouleprune::mask_n_of_m");
  return op.call(scores, left, n, m, dim);
}

std::tuple<Tensor, Tensor> unit_norms(const Tensor& scores, at::IntArrayRef block_size, double norm, const OptionalTensor& left) {
  static const auto op = find_op<UnitNorms>("jouleprune::unit_norms");
  return op.call(scores, left, block_size, norm);
}

Tensor spread_units(const Tensor& units, at::IntArrayRef size, at::IntArrayRef block_size, const OptionalTensor& left) {
  static const auto op = find_op<SpreadUnits>("jouleprune::spread_units");
  return op.call(units, left, c10::fromIntArrayRefSlow(size), block_size);
}

}  // namespace jouleprune
