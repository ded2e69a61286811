// linear_bsr_int8 on the CPU.
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

template <class T>
void run(const bsr_int8::Weight& weight, const Tensor& rows, int64_t in_features, float input_scale, Tensor& output,
         WeightForms& forms, kernels::Isa isa) {
  bsr_int8::linear(bsr_int8::LinearParams<T>{weight, in_features, rows.size(0), data_of<T>(rows), rows.stride(0), input_scale,
                                             mutable_data_of<T>(output), &forms},
                   torch_threads(), isa);
}

Tensor linear_bsr_int8_cpu(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                           const Tensor& key, const Tensor& scales, const OptionalTensor& input_scale,
                           const OptionalTensor& prepacked, const OptionalTensor& bias, int64_t in_features,
                           std::string_view activation) {
  constexpr const char* op = "linear_bsr_int8";
  const auto act = parse_activation(op, activation);
  const auto isa = active_isa();
  const auto rows = as_rows(op, "input", input, in_features);
  TORCH_CHECK_TYPE(input.scalar_type() != at::kDouble, op, ": input: expected float32, bfloat16 or float16, got ",
                   input.scalar_type());
  TORCH_CHECK_VALUE(in_features <= bsr_int8::kMaxInFeatures, op, ": in_features: expected at most ", bsr_int8::kMaxInFeatures,
                    " (sums of int8 products are kept in int32), got ", in_features);
  const auto weight = check_int8_weight(op, blocks, block_columns, block_row_offsets, &key, scales, in_features, input, "input",
                                        forward_compare(isa));
  const float scale = check_input_scale(op, input_scale);
  check_prepacked(op, prepacked);
  const auto float_bias = check_int8_bias(op, bias, weight.quads.rows, input);
  auto output = at::empty(resized_last(input, weight.quads.rows), input.options());
  auto forms = weight.forms();
  const bsr_int8::Weight view{weight.quads, weight.blocks.const_data_ptr<int8_t>(), weight.scales.const_data_ptr<float>(),
                              data_of<float>(float_bias), act == Activation::kRelu};
  switch (input.scalar_type()) {
    case at::kBFloat16: run<kernels::BFloat16>(view, rows, in_features, scale, output, forms, isa); break;
    case at::kHalf: run<kernels::Half>(view, rows, in_features, scale, output, forms, isa); break;
    default: run<float>(view, rows, in_features, scale, output, forms, isa);
  }
  return act == Activation::kRelu ? output : activate(act, output);
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CPU, m) { m.impl("linear_bsr_int8", TORCH_FN(jouleprune::ops::linear_bsr_int8_cpu)); }
