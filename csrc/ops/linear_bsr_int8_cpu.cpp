// linear_bsr_int8, linear_bsr_int8_to_bytes on the CPU.
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

/// Bytes as rows; floats as every linear op takes them.
Tensor int8_rows(const char* op, const Tensor& input, int64_t in_features) {
  check_int8_input(op, input);
  check_int8_sums(op, "in_features", input, in_features);
  if (input.scalar_type() != at::kByte) {
    return as_rows(op, "input", input, in_features);
  }
  TORCH_CHECK_VALUE(input.dim() >= 1 && input.size(-1) == in_features, op, ": input: expected [..., ", in_features, "], got ",
                    input.sizes());
  int64_t n = 1;
  for (const int64_t leading : input.sizes().slice(0, input.dim() - 1)) {
    n *= leading;
  }
  return input.dim() == 2 ? input.contiguous() : input.reshape({n, in_features}).contiguous();
}

/// Checked arguments.
struct Call {
  Tensor rows, bias;  // [n, in_features]; [rows] or undefined
  BsrInt8Weight weight;
  InputSteps steps;
  kernels::Isa isa;
};

template <class In, class Out>
void run(const Call& call, bool relu, Tensor& output, float output_scale = 0, float* output_scales = nullptr) {
  auto forms = call.weight.forms();
  const bsr_int8::Weight weight{call.weight.quads, call.weight.blocks.const_data_ptr<int8_t>(),
                                call.weight.scales.const_data_ptr<float>(), data_of<float>(call.bias), relu};
  bsr_int8::linear(bsr_int8::LinearParams<In, Out>{weight, call.rows.size(1), call.rows.size(0), data_of<In>(call.rows),
                                                   call.rows.stride(0), call.steps.scale, mutable_data_of<Out>(output), &forms, true,
                                                   true, data_of<float>(call.steps.scales), output_scale, output_scales},
                   torch_threads(), call.isa);
}

Call checked(const char* op, const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
             const Tensor& key, const Tensor& scales, const OptionalTensor& input_scale, const OptionalTensor& prepacked,
             const OptionalTensor& bias, int64_t in_features) {
  const auto isa = active_isa();
  auto rows = int8_rows(op, input, in_features);
  auto weight = check_int8_weight(op, blocks, block_columns, block_row_offsets, &key, scales, in_features, input, "input",
                                  forward_compare(isa));
  auto steps = check_input_scale(op, input_scale, input, rows.size(0));
  check_prepacked(op, prepacked);
  auto float_bias = check_int8_bias(op, bias, weight.quads.rows, input);
  return {std::move(rows), std::move(float_bias), std::move(weight), std::move(steps), isa};
}

Tensor linear_bsr_int8_cpu(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                           const Tensor& key, const Tensor& scales, const OptionalTensor& input_scale,
                           const OptionalTensor& prepacked, const OptionalTensor& bias, int64_t in_features,
                           std::string_view activation) {
  constexpr const char* op = "linear_bsr_int8";
  const auto act = parse_activation(op, activation);
  const auto call = checked(op, input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias, in_features);
  const bool bytes = input.scalar_type() == at::kByte, relu = act == Activation::kRelu;
  const auto options = bytes ? input.options().dtype(at::kFloat) : input.options();
  auto output = at::empty(resized_last(input, call.weight.quads.rows), options);
  switch (input.scalar_type()) {
    case at::kByte: run<uint8_t, float>(call, relu, output); break;
    case at::kBFloat16: run<kernels::BFloat16, kernels::BFloat16>(call, relu, output); break;
    case at::kHalf: run<kernels::Half, kernels::Half>(call, relu, output); break;
    default: run<float, float>(call, relu, output);
  }
  return relu ? output : activate(act, output);
}

std::tuple<Tensor, Tensor> linear_bsr_int8_to_bytes_cpu(const Tensor& input, const Tensor& blocks, const Tensor& block_columns,
                                                        const Tensor& block_row_offsets, const Tensor& key, const Tensor& scales,
                                                        const OptionalTensor& input_scale, const OptionalTensor& prepacked,
                                                        const OptionalTensor& bias, int64_t in_features,
                                                        std::string_view activation, const Tensor& output_scale) {
  constexpr const char* op = "linear_bsr_int8_to_bytes";
  const bool relu = check_byte_activation(op, activation);
  auto call = checked(op, input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias, in_features);
  const float scale = check_output_scale(op, output_scale);
  auto bytes = at::empty(resized_last(input, call.weight.quads.rows), input.options().dtype(at::kByte));
  auto row_scales = at::empty(input.sizes().slice(0, input.dim() - 1), input.options().dtype(at::kFloat));
  if (input.scalar_type() == at::kByte) {
    run<uint8_t, uint8_t>(call, relu, bytes, scale, row_scales.mutable_data_ptr<float>());
  } else {
    call.rows = call.rows.to(at::kFloat);
    run<float, uint8_t>(call, relu, bytes, scale, row_scales.mutable_data_ptr<float>());
  }
  return {std::move(bytes), std::move(row_scales)};
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CPU, m) {
  m.impl("linear_bsr_int8", TORCH_FN(jouleprune::ops::linear_bsr_int8_cpu));
  m.impl("linear_bsr_int8_to_bytes", TORCH_FN(jouleprune::ops::linear_bsr_int8_to_bytes_cpu));
}
