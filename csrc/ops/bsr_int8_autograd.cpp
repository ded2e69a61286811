// The int8 ops have no derivatives: whole numbers have none, and pretending with zeros would spoil a training silently.
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/library.h>

#include "ops/csr_autograd.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

using LinearBsrInt8 = Tensor(const Tensor& input, const Tensor& blocks, const Tensor& block_columns,
                             const Tensor& block_row_offsets, const Tensor& key, const Tensor& scales,
                             const OptionalTensor& input_scale, const OptionalTensor& prepacked, const OptionalTensor& bias,
                             c10::SymInt in_features, std::string_view activation);

using Conv2dBsrInt8 = Tensor(const Tensor& input, const Tensor& blocks, const Tensor& block_columns,
                             const Tensor& block_row_offsets, const Tensor& key, const Tensor& scales,
                             const OptionalTensor& input_scale, const OptionalTensor& prepacked, const OptionalTensor& bias,
                             c10::SymInt in_channels, at::IntArrayRef kernel_size, at::IntArrayRef stride,
                             at::IntArrayRef padding, at::IntArrayRef dilation, int64_t groups, std::string_view activation);

using BytesAndScales = std::tuple<Tensor, Tensor>;

using LinearToBytes = BytesAndScales(const Tensor& input, const Tensor& blocks, const Tensor& block_columns,
                                     const Tensor& block_row_offsets, const Tensor& key, const Tensor& scales,
                                     const OptionalTensor& input_scale, const OptionalTensor& prepacked, const OptionalTensor& bias,
                                     c10::SymInt in_features, std::string_view activation, const Tensor& output_scale);

using Conv2dToBytes = BytesAndScales(const Tensor& input, const Tensor& blocks, const Tensor& block_columns,
                                     const Tensor& block_row_offsets, const Tensor& key, const Tensor& scales,
                                     const OptionalTensor& input_scale, const OptionalTensor& prepacked, const OptionalTensor& bias,
                                     c10::SymInt in_channels, at::IntArrayRef kernel_size, at::IntArrayRef stride,
                                     at::IntArrayRef padding, at::IntArrayRef dilation, int64_t groups, std::string_view activation,
                                     const Tensor& output_scale);

void refuse_gradients(const char* op, const Tensor& input, const Tensor& scales, const OptionalTensor& input_scale,
                      const OptionalTensor& bias) {
  TORCH_CHECK(!needs_grad(input, scales, value_or_undefined(input_scale), value_or_undefined(bias)), op,
              " has no derivative: int8 layers are for inference; call them under torch.no_grad(), or train the float layer and ",
              "convert it afterwards");
}

Tensor linear_bsr_int8_autograd(const Tensor& input, const Tensor& blocks, const Tensor& block_columns,
                                const Tensor& block_row_offsets, const Tensor& key, const Tensor& scales,
                                const OptionalTensor& input_scale, const OptionalTensor& prepacked, const OptionalTensor& bias,
                                c10::SymInt in_features, std::string_view activation) {
  refuse_gradients("linear_bsr_int8", input, scales, input_scale, bias);
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<LinearBsrInt8>("jouleprune::linear_bsr_int8");
  return op.call(input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias,
                 std::move(in_features), activation);
}

Tensor conv2d_bsr_int8_autograd(const Tensor& input, const Tensor& blocks, const Tensor& block_columns,
                                const Tensor& block_row_offsets, const Tensor& key, const Tensor& scales,
                                const OptionalTensor& input_scale, const OptionalTensor& prepacked, const OptionalTensor& bias,
                                c10::SymInt in_channels, at::IntArrayRef kernel_size, at::IntArrayRef stride,
                                at::IntArrayRef padding, at::IntArrayRef dilation, int64_t groups, std::string_view activation) {
  refuse_gradients("conv2d_bsr_int8", input, scales, input_scale, bias);
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<Conv2dBsrInt8>("jouleprune::conv2d_bsr_int8");
  return op.call(input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias,
                 std::move(in_channels), kernel_size, stride, padding, dilation, groups, activation);
}

BytesAndScales linear_to_bytes_autograd(const Tensor& input, const Tensor& blocks, const Tensor& block_columns,
                                        const Tensor& block_row_offsets, const Tensor& key, const Tensor& scales,
                                        const OptionalTensor& input_scale, const OptionalTensor& prepacked, const OptionalTensor& bias,
                                        c10::SymInt in_features, std::string_view activation, const Tensor& output_scale) {
  refuse_gradients("linear_bsr_int8_to_bytes", input, scales, input_scale, bias);
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<LinearToBytes>("jouleprune::linear_bsr_int8_to_bytes");
  return op.call(input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias, std::move(in_features),
                 activation, output_scale);
}

BytesAndScales conv2d_to_bytes_autograd(const Tensor& input, const Tensor& blocks, const Tensor& block_columns,
                                        const Tensor& block_row_offsets, const Tensor& key, const Tensor& scales,
                                        const OptionalTensor& input_scale, const OptionalTensor& prepacked, const OptionalTensor& bias,
                                        c10::SymInt in_channels, at::IntArrayRef kernel_size, at::IntArrayRef stride,
                                        at::IntArrayRef padding, at::IntArrayRef dilation, int64_t groups,
                                        std::string_view activation, const Tensor& output_scale) {
  refuse_gradients("conv2d_bsr_int8_to_bytes", input, scales, input_scale, bias);
  const at::AutoDispatchBelowADInplaceOrView below;
  static const auto op = find_op<Conv2dToBytes>("jouleprune::conv2d_bsr_int8_to_bytes");
  return op.call(input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias, std::move(in_channels),
                 kernel_size, stride, padding, dilation, groups, activation, output_scale);
}

BytesAndScales quantize_bytes_autograd(const Tensor& input, const OptionalTensor& input_scale, int64_t shared_dims) {
  refuse_gradients("quantize_bytes", input, {}, input_scale, std::nullopt);
  const at::AutoDispatchBelowADInplaceOrView below;
  using Signature = BytesAndScales(const Tensor& input, const OptionalTensor& input_scale, int64_t shared_dims);
  static const auto op = find_op<Signature>("jouleprune::quantize_bytes");
  return op.call(input, input_scale, shared_dims);
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, Autograd, m) {
  m.impl("linear_bsr_int8", TORCH_FN(jouleprune::ops::linear_bsr_int8_autograd));
  m.impl("conv2d_bsr_int8", TORCH_FN(jouleprune::ops::conv2d_bsr_int8_autograd));
  m.impl("linear_bsr_int8_to_bytes", TORCH_FN(jouleprune::ops::linear_to_bytes_autograd));
  m.impl("conv2d_bsr_int8_to_bytes", TORCH_FN(jouleprune::ops::conv2d_to_bytes_autograd));
  m.impl("quantize_bytes", TORCH_FN(jouleprune::ops::quantize_bytes_autograd));
  m.impl("pack_bsr_int8", torch::CppFunction::makeFallthrough());
  m.impl("unpack_bsr_int8", torch::CppFunction::makeFallthrough());
}
