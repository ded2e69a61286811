// The int8 ops have no derivatives: whole numbers have none, and pretending with zeros would spoil a training silently. Networks
// with float layers around them run in grad mode all the same; a backward pass that gets here ends with a sentence.
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <string>
#include <tuple>
#include <vector>

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

/// Gives out `output` as made from `inputs`, and refuses the backward pass.
struct NoDerivative : torch::autograd::Function<NoDerivative> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& output, at::TensorList /*inputs*/, const std::string& op) {
    context->saved_data["op"] = op;
    return output.detach();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, const torch::autograd::variable_list&) {
    TORCH_CHECK(false, context->saved_data["op"].toStringRef(),
                " has no derivative: int8 layers are for inference; train the float layers and convert them afterwards");
  }
};

/// `output`, tied to what it was made from where that requires grad.
Tensor tied(const char* op, const Tensor& output, const Tensor& input, const Tensor& scales, const OptionalTensor& input_scale,
            const OptionalTensor& bias) {
  const Tensor own = value_or_undefined(input_scale), added = value_or_undefined(bias);
  if (!needs_grad(input, scales, own, added)) return output;
  std::vector<Tensor> inputs;
  for (const Tensor& tensor : {input, scales, own, added}) {
    if (tensor.defined() && tensor.requires_grad()) inputs.push_back(tensor);
  }
  return NoDerivative::apply(output, at::TensorList(inputs), std::string(op));
}

/// The same for bytes, whose scales carry the tie: whole numbers cannot.
BytesAndScales tied(const char* op, BytesAndScales made, const Tensor& input, const Tensor& scales, const OptionalTensor& input_scale,
                    const OptionalTensor& bias) {
  std::get<1>(made) = tied(op, std::get<1>(made), input, scales, input_scale, bias);
  return made;
}

Tensor linear_bsr_int8_autograd(const Tensor& input, const Tensor& blocks, const Tensor& block_columns,
                                const Tensor& block_row_offsets, const Tensor& key, const Tensor& scales,
                                const OptionalTensor& input_scale, const OptionalTensor& prepacked, const OptionalTensor& bias,
                                c10::SymInt in_features, std::string_view activation) {
  static const auto op = find_op<LinearBsrInt8>("jouleprune::linear_bsr_int8");
  const auto below = [&] {
    const at::AutoDispatchBelowADInplaceOrView guard;
    return op.call(input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias,
                   std::move(in_features), activation);
  };
  return tied("linear_bsr_int8", below(), input, scales, input_scale, bias);
}

Tensor conv2d_bsr_int8_autograd(const Tensor& input, const Tensor& blocks, const Tensor& block_columns,
                                const Tensor& block_row_offsets, const Tensor& key, const Tensor& scales,
                                const OptionalTensor& input_scale, const OptionalTensor& prepacked, const OptionalTensor& bias,
                                c10::SymInt in_channels, at::IntArrayRef kernel_size, at::IntArrayRef stride,
                                at::IntArrayRef padding, at::IntArrayRef dilation, int64_t groups, std::string_view activation) {
  static const auto op = find_op<Conv2dBsrInt8>("jouleprune::conv2d_bsr_int8");
  const auto below = [&] {
    const at::AutoDispatchBelowADInplaceOrView guard;
    return op.call(input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias,
                   std::move(in_channels), kernel_size, stride, padding, dilation, groups, activation);
  };
  return tied("conv2d_bsr_int8", below(), input, scales, input_scale, bias);
}

BytesAndScales linear_to_bytes_autograd(const Tensor& input, const Tensor& blocks, const Tensor& block_columns,
                                        const Tensor& block_row_offsets, const Tensor& key, const Tensor& scales,
                                        const OptionalTensor& input_scale, const OptionalTensor& prepacked, const OptionalTensor& bias,
                                        c10::SymInt in_features, std::string_view activation, const Tensor& output_scale) {
  static const auto op = find_op<LinearToBytes>("jouleprune::linear_bsr_int8_to_bytes");
  const auto below = [&] {
    const at::AutoDispatchBelowADInplaceOrView guard;
    return op.call(input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias, std::move(in_features),
                   activation, output_scale);
  };
  return tied("linear_bsr_int8_to_bytes", below(), input, scales, input_scale, bias);
}

BytesAndScales conv2d_to_bytes_autograd(const Tensor& input, const Tensor& blocks, const Tensor& block_columns,
                                        const Tensor& block_row_offsets, const Tensor& key, const Tensor& scales,
                                        const OptionalTensor& input_scale, const OptionalTensor& prepacked, const OptionalTensor& bias,
                                        c10::SymInt in_channels, at::IntArrayRef kernel_size, at::IntArrayRef stride,
                                        at::IntArrayRef padding, at::IntArrayRef dilation, int64_t groups,
                                        std::string_view activation, const Tensor& output_scale) {
  static const auto op = find_op<Conv2dToBytes>("jouleprune::conv2d_bsr_int8_to_bytes");
  const auto below = [&] {
    const at::AutoDispatchBelowADInplaceOrView guard;
    return op.call(input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias, std::move(in_channels),
                   kernel_size, stride, padding, dilation, groups, activation, output_scale);
  };
  return tied("conv2d_bsr_int8_to_bytes", below(), input, scales, input_scale, bias);
}

BytesAndScales quantize_bytes_autograd(const Tensor& input, const OptionalTensor& input_scale, int64_t shared_dims) {
  using Signature = BytesAndScales(const Tensor& input, const OptionalTensor& input_scale, int64_t shared_dims);
  static const auto op = find_op<Signature>("jouleprune::quantize_bytes");
  const auto below = [&] {
    const at::AutoDispatchBelowADInplaceOrView guard;
    return op.call(input, input_scale, shared_dims);
  };
  return tied("quantize_bytes", below(), input, Tensor(), input_scale, std::nullopt);
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
