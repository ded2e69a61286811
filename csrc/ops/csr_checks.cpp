#include "ops/csr_checks.h"

#include <ATen/ops/add.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>

#include <stdexcept>

#include "ops/limits.h"

namespace jouleprune::ops {
namespace {


void check_indices(const char* op, const at::Tensor& col_indices, const at::Tensor& row_offsets, int64_t cols) {
  check_strided(op, "col_indices", col_indices);
  check_strided(op, "row_offsets", row_offsets);
  TORCH_CHECK_TYPE(col_indices.scalar_type() == at::kInt, op, ": col_indices: expected int32, got ", col_indices.scalar_type());
  TORCH_CHECK_TYPE(row_offsets.scalar_type() == at::kInt, op, ": row_offsets: expected int32, got ", row_offsets.scalar_type());
  TORCH_CHECK_VALUE(col_indices.dim() == 1, op, ": col_indices: expected [nnz], got ", col_indices.sizes());
  TORCH_CHECK_VALUE(row_offsets.dim() == 1 && row_offsets.numel() >= 1, op, ": row_offsets: expected [rows + 1], got ",
                    row_offsets.sizes());
  TORCH_CHECK_VALUE(cols >= 0 && cols <= kLimit, op, ": columns of the weight: expected 0 to ", kLimit, ", got ", cols);
}

void check_values(const char* op, const at::Tensor& values, const at::Tensor& col_indices) {
  check_element_type(op, "values", values);
  TORCH_CHECK_VALUE(values.dim() == 1 && values.numel() == col_indices.numel(), op, ": values: expected [nnz = ",
                    col_indices.numel(), "] as col_indices, got ", values.sizes());
}

CsrWeight contiguous_weight(const at::Tensor& values, const at::Tensor& col_indices, const at::Tensor& row_offsets, int64_t cols) {
  CsrWeight weight{values.defined() ? values.contiguous() : values, col_indices.contiguous(), row_offsets.contiguous(), {}, {}};
  weight.csr = {row_offsets.numel() - 1, cols, col_indices.numel(), weight.col_indices.const_data_ptr<int32_t>(),
                weight.row_offsets.const_data_ptr<int32_t>()};
  return weight;
}

}  // namespace

void check_strided(const char* op, const char* name, const at::Tensor& tensor) {
  TORCH_CHECK_VALUE(tensor.defined(), op, ": ", name, ": expected a tensor, got none");
  TORCH_CHECK_VALUE(tensor.layout() == at::kStrided, op, ": ", name, ": expected a dense (strided) tensor, got layout ",
                    tensor.layout());
}

void check_device(const char* op, const char* name, const at::Tensor& tensor, const at::Tensor& like, const char* like_name) {
  TORCH_CHECK_VALUE(tensor.device() == like.device(), op, ": ", name, ": expected the device of ", like_name, ", ",
                    like.device(), ", got ", tensor.device());
}

void check_element_type(const char* op, const char* name, const at::Tensor& tensor) {
  check_strided(op, name, tensor);
  const auto dtype = tensor.scalar_type();
  TORCH_CHECK_TYPE(dtype == at::kFloat || dtype == at::kDouble || dtype == at::kBFloat16 || dtype == at::kHalf, op, ": ", name,
                   ": expected float32, float64, bfloat16 or float16, got ", dtype);
}

CsrWeight check_weight(const char* op, const at::Tensor* values, const at::Tensor& col_indices, const at::Tensor& row_offsets,
                       const at::Tensor& key, int64_t cols, const at::Tensor& like, const char* like_name, Compare compare) {
  check_element_type(op, like_name, like);
  check_indices(op, col_indices, row_offsets, cols);
  if (values != nullptr) {
    check_values(op, *values, col_indices);
    check_device(op, "values", *values, like, like_name);
    TORCH_CHECK_TYPE(values->scalar_type() == like.scalar_type(), op, ": values: expected the dtype of ", like_name, ", ",
                     like.scalar_type(), ", got ", values->scalar_type());
  }
  check_device(op, "col_indices", col_indices, like, like_name);
  check_device(op, "row_offsets", row_offsets, like, like_name);
  check_strided(op, "key", key);
  TORCH_CHECK_TYPE(key.scalar_type() == at::kLong, op, ": key: expected int64, got ", key.scalar_type());
  TORCH_CHECK_VALUE(key.dim() == 1 && key.numel() == 2, op, ": key: expected [2], got ", key.sizes());
  if (!key.is_cpu()) {
    check_device(op, "key", key, like, like_name);
  }
  auto weight = contiguous_weight(values == nullptr ? at::Tensor() : *values, col_indices, row_offsets, cols);
  weight.structure = check_structure(op, weight.col_indices, weight.row_offsets, key, cols, compare);
  return weight;
}

CsrWeight check_weight_in_full(const char* op, const at::Tensor& values, const at::Tensor& col_indices,
                               const at::Tensor& row_offsets, int64_t cols) {
  check_indices(op, col_indices, row_offsets, cols);
  check_values(op, values, col_indices);
  check_device(op, "col_indices", col_indices, values, "values");
  check_device(op, "row_offsets", row_offsets, values, "values");
  auto weight = contiguous_weight(values, col_indices, row_offsets, cols);
  const auto host_cols = weight.col_indices.cpu(), host_offsets = weight.row_offsets.cpu();
  const auto defect = formats::csr_defect({weight.csr.rows, cols, weight.csr.nnz, host_cols.const_data_ptr<int32_t>(),
                                           host_offsets.const_data_ptr<int32_t>()});
  TORCH_CHECK_VALUE(defect.empty(), op, ": unsound structure: ", defect);
  return weight;
}

at::Tensor check_bias(const char* op, const std::optional<at::Tensor>& bias, int64_t rows, const at::Tensor& like) {
  if (!bias.has_value() || !bias->defined()) {
    return {};
  }
  check_strided(op, "bias", *bias);
  TORCH_CHECK_VALUE(bias->dim() == 1 && bias->size(0) == rows, op, ": bias: expected [rows = ", rows, "], got ", bias->sizes());
  TORCH_CHECK_TYPE(bias->scalar_type() == like.scalar_type(), op, ": bias: expected the dtype of input, ", like.scalar_type(),
                   ", got ", bias->scalar_type());
  check_device(op, "bias", *bias, like, "input");
  return bias->contiguous();
}

at::Tensor check_residual(const char* op, const std::optional<at::Tensor>& residual, const at::Tensor& output, const at::Tensor& like) {
  if (!residual.has_value() || !residual->defined()) {
    return {};
  }
  check_strided(op, "residual", *residual);
  TORCH_CHECK_VALUE(residual->sym_sizes() == output.sym_sizes(), op, ": residual: expected the sizes of the output, ",
                    output.sym_sizes(), ", got ", residual->sym_sizes());
  TORCH_CHECK_TYPE(residual->scalar_type() == like.scalar_type(), op, ": residual: expected the dtype of input, ",
                   like.scalar_type(), ", got ", residual->scalar_type());
  check_device(op, "residual", *residual, like, "input");
  return *residual;
}

at::Tensor as_rows(const char* op, const char* name, const at::Tensor& tensor, int64_t size) {
  check_element_type(op, name, tensor);
  TORCH_CHECK_VALUE(size >= 0 && size <= kLimit, op, ": last size of ", name, ": expected 0 to ", kLimit, ", got ", size);
  TORCH_CHECK_VALUE(tensor.dim() >= 1 && tensor.size(-1) == size, op, ": ", name, ": expected [..., ", size, "], got ",
                    tensor.sizes());
  const auto neighbours = [size](const at::Tensor& rows) { return size <= 1 || rows.stride(1) == 1; };
  if (tensor.dim() == 2 && neighbours(tensor)) {
    return tensor;  // reshape would cost as much as a small product
  }
  int64_t n = 1;
  for (const int64_t leading : tensor.sizes().slice(0, tensor.dim() - 1)) {
    n *= leading;
  }
  const auto rows = tensor.reshape({n, size});
  return neighbours(rows) ? rows : rows.contiguous();
}

at::DimVector resized_last(const at::Tensor& tensor, int64_t size) {
  at::DimVector sizes(tensor.sizes());
  sizes.back() = size;
  return sizes;
}

void check_alike(const char* op, const at::Tensor& grad_output, const at::Tensor& input) {
  check_element_type(op, "input", input);
  TORCH_CHECK_TYPE(input.scalar_type() == grad_output.scalar_type(), op, ": input: expected the dtype of grad_output, ",
                   grad_output.scalar_type(), ", got ", input.scalar_type());
  check_device(op, "input", input, grad_output, "grad_output");
}

void check_same_rows(const char* op, const at::Tensor& grad_output, const at::Tensor& input, const at::Tensor& grad_rows,
                     const at::Tensor& input_rows) {
  check_alike(op, grad_output, input);
  TORCH_CHECK_VALUE(grad_rows.size(0) == input_rows.size(0), op, ": input: expected the leading sizes of grad_output, ",
                    grad_output.sizes(), ", got ", input.sizes());
}

void check_prepacked(const char* op, const std::optional<at::Tensor>& prepacked, const char* from) {
  if (prepacked.has_value() && prepacked->defined()) {
    TORCH_CHECK_TYPE(prepacked->scalar_type() == at::kInt, op, ": prepacked: expected int32 from ", from, ", got ",
                     prepacked->scalar_type());
    TORCH_CHECK_VALUE(prepacked->dim() == 1 && prepacked->numel() == 0, op, ": prepacked: expected [0] from ", from, ", got ",
                      prepacked->sizes());
  }
}

Activation parse_activation(const char* op, std::string_view name) {
  if (name == "none") return Activation::kNone;
  if (name == "relu") return Activation::kRelu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "silu") return Activation::kSilu;
  TORCH_CHECK_VALUE(false, op, ": activation: expected one of none, relu, gelu, silu, got '", name, "'");
}

at::Tensor activate(Activation activation, const at::Tensor& output) {
  switch (activation) {
    case Activation::kNone: return output;
    case Activation::kRelu: return at::relu(output);
    case Activation::kGelu: return at::gelu(output);
    case Activation::kSilu: return at::silu(output);
  }
  return output;
}

at::Tensor finish(Activation activation, const at::Tensor& output, const at::Tensor& residual) {
  return activate(activation, residual.defined() ? at::add(output, residual) : output);
}

kernels::Isa active_isa() {
  try {
    return kernels::active_isa();
  } catch (const std::invalid_argument& error) {
    TORCH_CHECK_VALUE(false, error.what());
  }
}

}  // namespace jouleprune::ops
