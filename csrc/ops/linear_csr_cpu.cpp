// linear_csr and its backward ops on the CPU.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <utility>

#include "formats/csr_pack.h"
#include "ops/csr_checks.h"
#include "ops/linear_csr_cpu.h"
#include "ops/parallel.h"
#include "ops/signatures.h"

namespace jouleprune::ops {

namespace csr = kernels::csr;

Tensor multiply_csr(const char* op, const Tensor& input, const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets,
                    const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias, int64_t in_features,
                    std::string_view activation, const OptionalTensor& residual) {
  const auto act = parse_activation(op, activation);
  const auto isa = active_isa();
  const auto rows = as_rows(op, "input", input, in_features);
  const auto weight = check_weight(op, &values, col_indices, row_offsets, key, in_features, input, "input", forward_compare(isa));
  check_prepacked(op, prepacked);
  const auto checked_bias = check_bias(op, bias, weight.csr.rows, input);
  auto output = at::empty(resized_last(input, weight.csr.rows), input.options());
  auto added = check_residual(op, residual, output, input);
  if (added.defined()) added = added.contiguous();
  auto forms = weight.forms();
  with_element_type(input.scalar_type(), [&](auto element) {
    using T = decltype(element);
    csr::LinearParams<T> params{weight.csr, data_of<T>(weight.values), data_of<T>(checked_bias), act, rows.size(0), data_of<T>(rows),
                                rows.stride(0), mutable_data_of<T>(output), &forms};
    if (added.defined()) {
      params.residual = {data_of<T>(added), std::exchange(params.activation, Activation::kNone)};
    }
    csr::linear(params, torch_threads(), isa);
  });
  return output;
}

Tensor csr_gradient_of_input(const char* op, const Tensor& grad_output, const Tensor& values, const Tensor& col_indices,
                             const Tensor& row_offsets, const Tensor& key, int64_t in_features) {
  const auto weight = check_weight(op, &values, col_indices, row_offsets, key, in_features, grad_output, "grad_output",
                                   Compare::kWhole);
  const auto rows = as_rows(op, "grad_output", grad_output, weight.csr.rows);
  auto grad_input = at::empty(resized_last(grad_output, in_features), grad_output.options());
  const FreshValues fresh;
  auto forms = weight.forms();
  with_element_type(grad_output.scalar_type(), [&](auto element) {
    using T = decltype(element);
    csr::linear_backward_input(csr::LinearParams<T>{weight.csr, data_of<T>(weight.values), nullptr, Activation::kNone,
                                                    rows.size(0), data_of<T>(rows), rows.stride(0),
                                                    mutable_data_of<T>(grad_input), &forms},
                               torch_threads(), active_isa());
  });
  return grad_input;
}

Tensor csr_gradient_of_values(const char* op, const Tensor& grad_output, const Tensor& input, const Tensor& col_indices,
                              const Tensor& row_offsets, const Tensor& key, int64_t in_features) {
  const auto weight = check_weight(op, nullptr, col_indices, row_offsets, key, in_features, grad_output, "grad_output",
                                   Compare::kWhole);
  const auto grads = as_rows(op, "grad_output", grad_output, weight.csr.rows);
  const auto inputs = as_rows(op, "input", input, in_features);
  check_same_rows(op, grad_output, input, grads, inputs);
  auto grad_values = at::empty({weight.csr.nnz}, grad_output.options());
  if (csr::dense_values_gradient(weight.csr, grad_output.scalar_type() == at::kBFloat16)) {
    const auto dense = grads.t().matmul(inputs);
    with_element_type(grad_output.scalar_type(), [&](auto element) {
      using T = decltype(element);
      formats::csr_sample(weight.csr, data_of<T>(dense), mutable_data_of<T>(grad_values));
    });
    return grad_values;
  }
  with_element_type(grad_output.scalar_type(), [&](auto element) {
    using T = decltype(element);
    csr::linear_backward_values(
        csr::LinearValuesParams<T>{weight.csr, grads.size(0), data_of<T>(grads), grads.stride(0), data_of<T>(inputs),
                                   inputs.stride(0), mutable_data_of<T>(grad_values)},
        torch_threads(), active_isa());
  });
  return grad_values;
}

namespace {

Tensor linear_csr_cpu(const Tensor& input, const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets,
                      const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias, int64_t in_features,
                      std::string_view activation, const OptionalTensor& residual) {
  return multiply_csr("linear_csr", input, values, col_indices, row_offsets, key, prepacked, bias, in_features, activation,
                      residual);
}

Tensor linear_csr_backward_input_cpu(const Tensor& grad_output, const Tensor& values, const Tensor& col_indices,
                                     const Tensor& row_offsets, const Tensor& key, int64_t in_features) {
  return csr_gradient_of_input("linear_csr_backward_input", grad_output, values, col_indices, row_offsets, key, in_features);
}

Tensor linear_csr_backward_values_cpu(const Tensor& grad_output, const Tensor& input, const Tensor& col_indices,
                                      const Tensor& row_offsets, const Tensor& key, int64_t in_features) {
  return csr_gradient_of_values("linear_csr_backward_values", grad_output, input, col_indices, row_offsets, key, in_features);
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CPU, m) {
  m.impl("linear_csr", TORCH_FN(jouleprune::ops::linear_csr_cpu));
  m.impl("linear_csr_backward_input", TORCH_FN(jouleprune::ops::linear_csr_backward_input_cpu));
  m.impl("linear_csr_backward_values", TORCH_FN(jouleprune::ops::linear_csr_backward_values_cpu));
}
