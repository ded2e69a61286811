// conv2d_bsr_int8 on the CPU.
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

/// Columns of the weight: taps by channels of a group, rounded up to quads.
int64_t int8_conv_cols(const char* op, const Tensor& input, int64_t in_channels, Sizes kernel_size, int64_t groups) {
  const int64_t cols = check_conv_input(op, input, in_channels, kernel_size, groups);
  TORCH_CHECK_TYPE(input.scalar_type() != at::kDouble, op, ": input: expected float32, bfloat16 or float16, got ",
                   input.scalar_type());
  TORCH_CHECK_VALUE(cols <= bsr_int8::kMaxInFeatures, op, ": in_channels / groups x kernel_size: expected at most ",
                    bsr_int8::kMaxInFeatures, " (sums of int8 products are kept in int32), got ", cols);
  return kernel_size[0] * kernel_size[1] * bsr_int8::quads_of(in_channels / groups) * bsr_int8::kQuad;
}

template <class T>
void run(const bsr_int8::Weight& weight, const kernels::csr::ConvShape& shape, const Tensor& input, float input_scale,
         Tensor& output, bool channels_last, WeightForms& forms, kernels::Isa isa) {
  bsr_int8::conv2d(bsr_int8::ConvParams<T>{weight, shape, data_of<T>(input), channels_last, input_scale, mutable_data_of<T>(output),
                                           channels_last, &forms},
                   torch_threads(), isa);
}

Tensor conv2d_bsr_int8_cpu(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                           const Tensor& key, const Tensor& scales, const OptionalTensor& input_scale,
                           const OptionalTensor& prepacked, const OptionalTensor& bias, int64_t in_channels, Sizes kernel_size,
                           Sizes stride, Sizes padding, Sizes dilation, int64_t groups, std::string_view activation) {
  constexpr const char* op = "conv2d_bsr_int8";
  const auto act = parse_activation(op, activation);
  const auto isa = active_isa();
  const int64_t cols = int8_conv_cols(op, input, in_channels, kernel_size, groups);
  const auto weight = check_int8_weight(op, blocks, block_columns, block_row_offsets, &key, scales, cols, input, "input",
                                        forward_compare(isa));
  const auto shape = check_conv(op, input.sizes(), weight.quads.rows, kernel_size, stride, padding, dilation, groups);
  const float scale = check_input_scale(op, input_scale);
  check_prepacked(op, prepacked);
  const auto float_bias = check_int8_bias(op, bias, weight.quads.rows, input);
  const bool channels_last = input.suggest_memory_format() == at::MemoryFormat::ChannelsLast;
  const auto format = channels_last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  const auto dense = input.contiguous(format);
  auto output = at::empty({shape.batch, shape.out_channels, shape.out_height(), shape.out_width()}, input.options(), format);
  auto forms = weight.forms();
  const bsr_int8::Weight view{weight.quads, weight.blocks.const_data_ptr<int8_t>(), weight.scales.const_data_ptr<float>(),
                              data_of<float>(float_bias), act == Activation::kRelu};
  switch (input.scalar_type()) {
    case at::kBFloat16: run<kernels::BFloat16>(view, shape, dense, scale, output, channels_last, forms, isa); break;
    case at::kHalf: run<kernels::Half>(view, shape, dense, scale, output, channels_last, forms, isa); break;
    default: run<float>(view, shape, dense, scale, output, channels_last, forms, isa);
  }
  return act == Activation::kRelu ? output : activate(act, output);
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CPU, m) { m.impl("conv2d_bsr_int8", TORCH_FN(jouleprune::ops::conv2d_bsr_int8_cpu)); }
