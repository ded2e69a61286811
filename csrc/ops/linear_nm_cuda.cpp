// linear_nm and its backward ops on CUDA: 2:4 of 16-bit types on the sparse instructions of tensor cores for few batch
// rows, by cuSPARSELt for many where there is one, else the ops of layout csr on the structure that is derived of the
// indices.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include "csr/pairs.h"
#include "ops/compressed_product.h"
#include "ops/csr_checks.h"
#include "ops/cuda_backend.h"
#include "ops/cusparselt_product.h"
#include "ops/device_forms.h"
#include "ops/nm_signatures.h"
#include "ops/nm_structure.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

/// Most batch rows of the 2:4 kernel: beyond, products are not bound by reading the weight.
constexpr int64_t kMostPairRows = 64;

/// Structure of layout csr on the device of the indices; the key stays on the CPU.
CsrStructure device_structure(const char* op, const Tensor& indices, const Tensor& key, const formats::NmShape& shape) {
  return *device_form<CsrStructure>("nm structure", {indices, key}, {shape.rows, shape.cols, shape.n, shape.m}, [&] {
    const auto host = indices.cpu(), host_key = key.cpu();
    const auto csr = check_nm_weight(op, Tensor(), host, &host_key, shape, host, "indices");
    return CsrStructure{csr.col_indices.to(indices.device()), csr.row_offsets.to(indices.device()), csr.key};
  });
}

struct DevicePairs {
  Tensor headers, order;
};

std::shared_ptr<const DevicePairs> device_pairs(const Tensor& indices, const formats::NmShape& shape) {
  return device_form<DevicePairs>("nm pairs", {indices}, {shape.rows, shape.cols, shape.n, shape.m}, [&] {
    const auto host = indices.cpu();
    const auto pairs = cuda::csr::pairs_of({shape.rows, shape.cols, shape.kept(), host.const_data_ptr<uint8_t>()});
    const auto headers = at::tensor(pairs.headers, at::TensorOptions().dtype(at::kByte)).to(indices.device());
    return DevicePairs{headers, on_device(pairs.order, indices)};
  });
}

formats::NmShape checked_shape(const char* op, const Tensor& indices, const Tensor& like, const char* like_name,
                               int64_t cols, int64_t n, int64_t m) {
  TORCH_CHECK_VALUE(indices.dim() == 2, op, ": indices: expected [rows, kept], got ", indices.sizes());
  check_device(op, "indices", indices, like, like_name);
  return check_nm_shape(op, indices.size(0), cols, n, m);
}

/// [rows, kept] as the values of layout csr, whose order is theirs.
Tensor flat_values(const char* op, const Tensor& values, const Tensor& like, const char* like_name,
                   const formats::NmShape& shape) {
  check_element_type(op, "values", values);
  check_device(op, "values", values, like, like_name);
  TORCH_CHECK_VALUE(values.dim() == 2 && values.size(0) == shape.rows && values.size(1) == shape.kept(), op,
                    ": values: expected [", shape.rows, ", ", shape.kept(), "] for ", shape.n, ":", shape.m, " of ",
                    shape.cols, " inputs, got ", values.sizes());
  TORCH_CHECK_TYPE(values.scalar_type() == like.scalar_type(), op, ": values: expected the dtype of ", like_name, ", ",
                   like.scalar_type(), ", got ", values.scalar_type());
  auto flat = values.reshape({values.numel()});
  if (flat.is_alias_of(values) && !values.is_inference()) {
    // Below autograd a view counts its own changes; forms that are kept for it must see those of the values.
    flat.unsafeGetTensorImpl()->set_version_counter(values.unsafeGetTensorImpl()->version_counter());
  }
  return flat;
}

/// [rows, cols]
Tensor dense_of(const Tensor& flat, const CsrStructure& csr, const formats::NmShape& shape) {
  const auto places = csr.col_indices.to(at::kLong).view({shape.rows, shape.kept()});
  return at::zeros({shape.rows, shape.cols}, flat.options()).scatter_(1, places, flat.view({shape.rows, shape.kept()}));
}

Tensor linear_nm_cuda(const Tensor& input, const Tensor& values, const Tensor& indices, const Tensor& key,
                      const OptionalTensor& prepacked, const OptionalTensor& bias, int64_t in_features, int64_t n,
                      int64_t m, std::string_view activation) {
  constexpr const char* op = "linear_nm";
  const auto act = parse_activation(op, activation);
  TORCH_CHECK_VALUE(!prepacked.has_value() || !prepacked->defined(), op,
                    ": prepacked: expected None, for layout nm has no other order");
  const CudaScope scope(input);
  const auto rows = as_rows(op, "input", input, in_features);
  const auto shape = checked_shape(op, indices, input, "input", in_features, n, m);
  const auto flat = flat_values(op, values, input, "input", shape);
  const auto structure_of = indices.contiguous();
  const auto csr = device_structure(op, structure_of, key, shape);
  if (wants_cusparselt(shape, input.scalar_type(), rows.size(0))) {
    const auto checked_bias = check_bias(op, bias, shape.rows, input);
    const auto compressed = *kept_unless_fresh<Tensor>("nm cusparselt", {structure_of, flat}, {shape.rows, shape.cols, 0, 0}, scope, [&] {
      return compressed_by_cusparselt([&] { return dense_of(flat, csr, shape); });
    });
    if (const auto product = cusparselt_product(compressed, rows, checked_bias); product.defined()) {
      return finish(act, product.reshape(resized_last(input, shape.rows)), {});
    }
  }
  if (n != 2 || m != 4 || input.element_size() != 2 || rows.size(0) > kMostPairRows) {
    static const auto product = find_op<LinearCsr>("jouleprune::linear_csr");
    return product.call(input, flat, csr.col_indices, csr.row_offsets, csr.key, std::nullopt, bias, in_features,
                        activation, std::nullopt);
  }
  const auto checked_bias = check_bias(op, bias, shape.rows, input);
  const auto pairs = device_pairs(structure_of, shape);
  const auto packed = *kept_unless_fresh<Tensor>("nm packed", {structure_of, flat}, {shape.rows, shape.cols, 0, 0},
                                                 scope, [&] { return packed_values(flat, pairs->order, scope); });
  auto output = at::empty(resized_last(input, shape.rows), input.options());
  run_compressed({true, pairs->headers, {}, packed}, rows, output.view({rows.size(0), shape.rows}),
                 {pointer_or_null(checked_bias), nullptr, cuda_activation(act)}, scope);
  return output;
}

Tensor linear_nm_backward_input_cuda(const Tensor& grad_output, const Tensor& values, const Tensor& indices,
                                     const Tensor& key, int64_t in_features, int64_t n, int64_t m) {
  constexpr const char* op = "linear_nm_backward_input";
  const CudaScope scope(grad_output);
  const auto shape = checked_shape(op, indices, grad_output, "grad_output", in_features, n, m);
  const auto csr = device_structure(op, indices.contiguous(), key, shape);
  static const auto gradient = find_op<LinearCsrBackward>("jouleprune::linear_csr_backward_input");
  return gradient.call(grad_output, flat_values(op, values, grad_output, "grad_output", shape), csr.col_indices,
                       csr.row_offsets, csr.key, in_features);
}

Tensor linear_nm_backward_values_cuda(const Tensor& grad_output, const Tensor& input, const Tensor& indices,
                                      const Tensor& key, int64_t in_features, int64_t n, int64_t m) {
  constexpr const char* op = "linear_nm_backward_values";
  const CudaScope scope(grad_output);
  const auto shape = checked_shape(op, indices, grad_output, "grad_output", in_features, n, m);
  const auto csr = device_structure(op, indices.contiguous(), key, shape);
  static const auto gradient = find_op<LinearCsrBackward>("jouleprune::linear_csr_backward_values");
  return gradient.call(grad_output, input, csr.col_indices, csr.row_offsets, csr.key, in_features)
      .view({shape.rows, shape.kept()});
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, JOULEPRUNE_CUDA_KEY, m) {
  m.impl("linear_nm", TORCH_FN(jouleprune::ops::linear_nm_cuda));
  m.impl("linear_nm_backward_input", TORCH_FN(jouleprune::ops::linear_nm_backward_input_cuda));
  m.impl("linear_nm_backward_values", TORCH_FN(jouleprune::ops::linear_nm_backward_values_cuda));
}
