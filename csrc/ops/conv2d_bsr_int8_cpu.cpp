// conv2d_bsr_int8, conv2d_bsr_int8_to_bytes on the CPU.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "ops/bsr_int8_checks.h"
#include "ops/csr_checks.h"
#include "ops/parallel.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

namespace bsr_int8 = kernels::bsr_int8;
using Sizes = at::IntArrayRef;

/// The sizes of a convolution beside those of its tensors.
struct Geometry {
  int64_t in_channels;
  Sizes kernel_size, stride, padding, dilation;
  int64_t groups;
};

/// Columns of the weight: taps by channels of a group, rounded up to quads.
int64_t int8_conv_cols(const char* op, const Tensor& input, const Geometry& g) {
  check_int8_input(op, input);
  // What check_conv_input says of sizes holds for bytes, which are no element type of the float ops.
  const auto sized = input.scalar_type() == at::kByte ? at::empty({}, input.options().dtype(at::kFloat)).expand(input.sizes()) : input;
  check_int8_sums(op, "in_channels / groups x kernel_size", input,
                  check_conv_input(op, sized, g.in_channels, g.kernel_size, g.groups));
  return g.kernel_size[0] * g.kernel_size[1] * bsr_int8::quads_of(g.in_channels / g.groups) * bsr_int8::kQuad;
}

/// Checked arguments.
struct ConvCall {
  Tensor input, bias;  // contiguous in `format`; [rows] or undefined
  BsrInt8Weight weight;
  kernels::csr::ConvShape shape;
  InputSteps steps;
  at::MemoryFormat format;
  kernels::Isa isa;

  Tensor output(at::ScalarType dtype) const {
    return at::empty({shape.batch, shape.out_channels, shape.out_height(), shape.out_width()}, input.options().dtype(dtype), format);
  }
};

ConvCall checked(const char* op, const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
             const Tensor& key, const Tensor& scales, const OptionalTensor& input_scale, const OptionalTensor& prepacked,
             const OptionalTensor& bias, const Geometry& g) {
  const auto isa = active_isa();
  const int64_t cols = int8_conv_cols(op, input, g);
  auto weight = check_int8_weight(op, blocks, block_columns, block_row_offsets, &key, scales, cols, input, "input",
                                  forward_compare(isa));
  const auto shape = check_conv(op, input.sizes(), weight.quads.rows, g.kernel_size, g.stride, g.padding, g.dilation, g.groups);
  auto steps = check_input_scale(op, input_scale, input, shape.batch);
  check_prepacked(op, prepacked);
  auto float_bias = check_int8_bias(op, bias, weight.quads.rows, input);
  const bool last = input.suggest_memory_format() == at::MemoryFormat::ChannelsLast;
  const auto format = last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  return {input.contiguous(format), std::move(float_bias), std::move(weight), shape, std::move(steps), format, isa};
}

template <class In, class Out>
void run(const ConvCall& call, bool relu, Tensor& output, float output_scale = 0, float* output_scales = nullptr) {
  auto forms = call.weight.forms();
  const bsr_int8::Weight weight{call.weight.quads, call.weight.blocks.const_data_ptr<int8_t>(),
                                call.weight.scales.const_data_ptr<float>(), data_of<float>(call.bias), relu};
  const bool last = call.format == at::MemoryFormat::ChannelsLast;
  bsr_int8::conv2d(bsr_int8::ConvParams<In, Out>{weight, call.shape, data_of<In>(call.input), last, call.steps.scale,
                                                 mutable_data_of<Out>(output), last, &forms, true, 0,
                                                 data_of<float>(call.steps.scales), output_scale, output_scales},
                   torch_threads(), call.isa);
}

Tensor conv2d_bsr_int8_cpu(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                           const Tensor& key, const Tensor& scales, const OptionalTensor& input_scale,
                           const OptionalTensor& prepacked, const OptionalTensor& bias, int64_t in_channels, Sizes kernel_size,
                           Sizes stride, Sizes padding, Sizes dilation, int64_t groups, std::string_view activation) {
  constexpr const char* op = "conv2d_bsr_int8";
  const auto act = parse_activation(op, activation);
  const auto call = checked(op, input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias,
                            {in_channels, kernel_size, stride, padding, dilation, groups});
  const bool bytes = input.scalar_type() == at::kByte, relu = act == Activation::kRelu;
  auto output = call.output(bytes ? at::kFloat : input.scalar_type());
  switch (input.scalar_type()) {
    case at::kByte: run<uint8_t, float>(call, relu, output); break;
    case at::kBFloat16: run<kernels::BFloat16, kernels::BFloat16>(call, relu, output); break;
    case at::kHalf: run<kernels::Half, kernels::Half>(call, relu, output); break;
    default: run<float, float>(call, relu, output);
  }
  return relu ? output : activate(act, output);
}

std::tuple<Tensor, Tensor> conv2d_bsr_int8_to_bytes_cpu(const Tensor& input, const Tensor& blocks, const Tensor& block_columns,
                                                        const Tensor& block_row_offsets, const Tensor& key, const Tensor& scales,
                                                        const OptionalTensor& input_scale, const OptionalTensor& prepacked,
                                                        const OptionalTensor& bias, int64_t in_channels, Sizes kernel_size,
                                                        Sizes stride, Sizes padding, Sizes dilation, int64_t groups,
                                                        std::string_view activation, const Tensor& output_scale) {
  constexpr const char* op = "conv2d_bsr_int8_to_bytes";
  const bool relu = check_byte_activation(op, activation);
  auto call = checked(op, input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias,
                      {in_channels, kernel_size, stride, padding, dilation, groups});
  const float scale = check_output_scale(op, output_scale);
  auto bytes = call.output(at::kByte), image_scales = at::empty({call.shape.batch}, input.options().dtype(at::kFloat));
  if (input.scalar_type() == at::kByte) {
    run<uint8_t, uint8_t>(call, relu, bytes, scale, image_scales.mutable_data_ptr<float>());
  } else {
    call.input = call.input.to(at::kFloat);
    run<float, uint8_t>(call, relu, bytes, scale, image_scales.mutable_data_ptr<float>());
  }
  return {std::move(bytes), std::move(image_scales)};
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CPU, m) {
  m.impl("conv2d_bsr_int8", TORCH_FN(jouleprune::ops::conv2d_bsr_int8_cpu));
  m.impl("conv2d_bsr_int8_to_bytes", TORCH_FN(jouleprune::ops::conv2d_bsr_int8_to_bytes_cpu));
}
