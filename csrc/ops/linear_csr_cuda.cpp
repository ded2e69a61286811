// linear_csr and its backward ops on CUDA.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <torch/library.h>

#include "ops/compressed_product.h"
#include "ops/csr_checks.h"
#include "ops/csr_dense.h"
#include "ops/cuda_adapters.h"
#include "ops/cuda_backend.h"
#include "ops/device_csr.h"
#include "ops/packed_forms.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

namespace csr = cuda::csr;

/// [rows, cols], or its transpose as a view.
Tensor dense_weight(const CsrWeight& weight, bool transposed, const CudaScope& scope) {
  const auto dense = *form_of_values<Tensor>("csr dense", weight, false, scope, [&] { return dense_of(weight); });
  return transposed ? dense.t() : dense;
}

void run_tiles(const CsrWeight& weight, bool transposed, const Tensor& rows, const Tensor& output,
               const cuda::Epilogue& epilogue, const CudaScope& scope) {
  const auto tiles = device_tiles(weight, transposed);
  const auto packed = *form_of_values<Tensor>("csr packed", weight, transposed, scope,
                                              [&] { return packed_values(weight.values, tiles->order, scope); });
  run_compressed({false, tiles->headers, tiles->starts, packed}, rows, output, epilogue, scope);
}

/// output [n, outputs] = epilogue(rows [n, inputs] W^T), or with the transpose of W.
void run_product(csr::Kernel kernel, const CsrWeight& weight, bool transposed, const Tensor& rows, const Tensor& output,
                 const cuda::Epilogue& epilogue, const CudaScope& scope) {
  if (kernel == csr::Kernel::kTiles) {
    run_tiles(weight, transposed, rows, output, epilogue, scope);
    return;
  }
  const auto matrix = device_matrix(weight, transposed);
  const int64_t n = rows.size(0);
  Tensor turned_input, turned_output;
  if (kernel == csr::Kernel::kByTokens) {
    turned_input = scratch_for(rows, turned_elements(matrix->cols, n));
    turned_output = scratch_for(rows, turned_elements(matrix->rows, n));
  }
  const auto scratch = [](const Tensor& t) { return t.defined() ? t.mutable_data_ptr() : nullptr; };
  scope.run(csr::Linear{cuda_element_type(rows.scalar_type()), matrix->view(weight.values), weight.csr.nnz,
                        rows.const_data_ptr(), rows.stride(0), n, scratch(turned_input), scratch(turned_output),
                        output.mutable_data_ptr(), epilogue});
}

csr::Kernel kernel_for(const CsrWeight& weight, const Tensor& rows, const CudaScope& scope) {
  return csr_kernel(
      {cuda_element_type(rows.scalar_type()), weight.csr.rows, weight.csr.cols, weight.csr.nnz, rows.size(0)},
      scope.machine());
}

Tensor linear_csr_cuda(const Tensor& input, const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets,
                       const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias,
                       int64_t in_features, std::string_view activation, const OptionalTensor& residual) {
  constexpr const char* op = "linear_csr";
  const auto act = parse_activation(op, activation);
  const auto rows = as_rows(op, "input", input, in_features);
  const CudaScope scope(input);
  const auto weight = check_weight(op, &values, col_indices, row_offsets, key, in_features, input, "input");
  check_prepacked(op, prepacked);
  const auto checked_bias = check_bias(op, bias, weight.csr.rows, input);
  auto output = at::empty(resized_last(input, weight.csr.rows), input.options());
  const auto added = check_residual(op, residual, output, input);
  const auto kernel = kernel_for(weight, rows, scope);
  if (kernel == csr::Kernel::kDense) {
    auto product = rows.matmul(dense_weight(weight, true, scope));
    return finish(act, (checked_bias.defined() ? product + checked_bias : product).view(output.sizes()), added);
  }
  const auto residual_rows = added.defined() ? added.contiguous() : added;
  run_product(kernel, weight, false, rows, output.view({rows.size(0), weight.csr.rows}),
              {pointer_or_null(checked_bias), pointer_or_null(residual_rows), cuda_activation(act)}, scope);
  return output;
}

Tensor linear_csr_backward_input_cuda(const Tensor& grad_output, const Tensor& values, const Tensor& col_indices,
                                      const Tensor& row_offsets, const Tensor& key, int64_t in_features) {
  constexpr const char* op = "linear_csr_backward_input";
  const CudaScope scope(grad_output);
  const FreshValues fresh;
  const auto weight = check_weight(op, &values, col_indices, row_offsets, key, in_features, grad_output, "grad_output");
  const auto rows = as_rows(op, "grad_output", grad_output, weight.csr.rows);
  auto grad_input = at::empty(resized_last(grad_output, in_features), grad_output.options());
  const auto kernel = kernel_for(weight, rows, scope);
  if (kernel == csr::Kernel::kDense) {
    return rows.matmul(dense_weight(weight, false, scope)).view(grad_input.sizes());
  }
  run_product(kernel, weight, true, rows, grad_input.view({rows.size(0), in_features}), {}, scope);
  return grad_input;
}

Tensor linear_csr_backward_values_cuda(const Tensor& grad_output, const Tensor& input, const Tensor& col_indices,
                                       const Tensor& row_offsets, const Tensor& key, int64_t in_features) {
  constexpr const char* op = "linear_csr_backward_values";
  const CudaScope scope(grad_output);
  const auto weight = check_weight(op, nullptr, col_indices, row_offsets, key, in_features, grad_output, "grad_output");
  const auto grads = as_rows(op, "grad_output", grad_output, weight.csr.rows);
  const auto inputs = as_rows(op, "input", input, in_features);
  check_same_rows(op, grad_output, input, grads, inputs);
  auto grad_values = at::empty({weight.csr.nnz}, grad_output.options());
  const int64_t n = grads.size(0);
  auto turned_grads = scratch_for(grad_output, turned_elements(weight.csr.rows, n));
  auto turned_inputs = scratch_for(grad_output, turned_elements(in_features, n));
  const auto type = cuda_element_type(grad_output.scalar_type());
  // The tiles are only looked for where they can serve: half of the memory of a bitmap each.
  const csr::Shape shape{type, weight.csr.rows, in_features, weight.csr.nnz, n};
  const auto tiles = csr::gradient_by_tiles(shape, 1) ? device_mask_tiles(weight) : nullptr;
  if (tiles != nullptr && csr::gradient_by_tiles(shape, tiles->tiles.numel() / 2)) {
    csr::MaskedParams masked{};
    masked.tiles = tiles->tiles.const_data_ptr<int32_t>();
    masked.masks = reinterpret_cast<const uint32_t*>(tiles->masks.const_data_ptr<int32_t>());
    masked.firsts = tiles->firsts.const_data_ptr<int32_t>();
    masked.count = tiles->tiles.numel() / 2;
    masked.rows = weight.csr.rows;
    masked.cols = in_features;
    masked.n = n;
    masked.gradient = grad_values.mutable_data_ptr();
    scope.run(csr::LinearMasked{type, masked, weight.csr.nnz, grads.const_data_ptr(), grads.stride(0),
                                inputs.const_data_ptr(), inputs.stride(0), turned_grads.mutable_data_ptr(),
                                turned_inputs.mutable_data_ptr()});
    return grad_values;
  }
  const auto entry_rows = device_entry_rows(weight);
  csr::GradientParams params{};
  params.entry_rows = entry_rows.const_data_ptr<int32_t>();
  params.columns = weight.csr.col_indices;
  params.nnz = weight.csr.nnz;
  params.n = n;
  params.gradient = grad_values.mutable_data_ptr();
  scope.run(csr::LinearValues{type, params, weight.csr.rows, in_features, grads.const_data_ptr(), grads.stride(0),
                              inputs.const_data_ptr(), inputs.stride(0), turned_grads.mutable_data_ptr(),
                              turned_inputs.mutable_data_ptr()});
  return grad_values;
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, JOULEPRUNE_CUDA_KEY, m) {
  m.impl("linear_csr", TORCH_FN(jouleprune::ops::linear_csr_cuda));
  m.impl("linear_csr_backward_input", TORCH_FN(jouleprune::ops::linear_csr_backward_input_cuda));
  m.impl("linear_csr_backward_values", TORCH_FN(jouleprune::ops::linear_csr_backward_values_cuda));
}
