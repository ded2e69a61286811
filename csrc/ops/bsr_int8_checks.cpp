#include "ops/bsr_int8_checks.h"

#include <c10/util/Exception.h>

#include <limits>
#include <string>

#include "ops/csr_checks.h"
#include "ops/limits.h"

namespace jouleprune::ops {
namespace {

void check_tensor(const char* op, const char* name, const at::Tensor& tensor, at::ScalarType dtype, const char* dtype_name) {
  TORCH_CHECK_VALUE(tensor.defined() && tensor.layout() == at::kStrided, op, ": ", name, ": expected a dense (strided) tensor");
  TORCH_CHECK_TYPE(tensor.scalar_type() == dtype, op, ": ", name, ": expected ", dtype_name, ", got ", tensor.scalar_type());
}

bool is_scale(float x) { return x >= std::numeric_limits<float>::min() && x <= std::numeric_limits<float>::max(); }

/// The structure is that of a csr matrix of quads; its checks speak of csr, this layout's names differ.
std::string in_our_words(std::string sentence) {
  const std::pair<const char*, const char*> words[] = {
      {"col_indices", "block_columns"}, {"row_offsets", "block_row_offsets"}, {"pack_csr", "pack_bsr_int8"}};
  for (const auto& [from, to] : words) {
    for (size_t at = sentence.find(from); at != std::string::npos; at = sentence.find(from, at + std::string(to).size())) {
      sentence.replace(at, std::string(from).size(), to);
    }
  }
  return sentence;
}

CheckedStructure checked_structure(const char* op, const BsrInt8Weight& weight, const at::Tensor* key, Compare compare) {
  if (key == nullptr) {
    const auto defect = formats::csr_defect(weight.quads);
    TORCH_CHECK_VALUE(defect.empty(), op, ": unsound structure: ", in_our_words(defect));
    return {};
  }
  try {
    return check_structure(op, weight.block_columns, weight.block_row_offsets, *key, weight.quads.cols, compare);
  } catch (const c10::ValueError& error) {
    TORCH_CHECK_VALUE(false, in_our_words(error.what_without_backtrace()));
  }
}

}  // namespace

BsrInt8Weight check_int8_weight(const char* op, const at::Tensor& blocks, const at::Tensor& block_columns,
                                const at::Tensor& block_row_offsets, const at::Tensor* key, const at::Tensor& scales, int64_t cols,
                                const at::Tensor& like, const char* like_name, Compare compare) {
  check_tensor(op, "blocks", blocks, at::kChar, "int8");
  check_tensor(op, "block_columns", block_columns, at::kInt, "int32");
  check_tensor(op, "block_row_offsets", block_row_offsets, at::kInt, "int32");
  check_tensor(op, "scales", scales, at::kFloat, "float32");
  TORCH_CHECK_VALUE(cols >= 0 && cols <= kLimit, op, ": columns of the weight: expected 0 to ", kLimit, ", got ", cols);
  TORCH_CHECK_VALUE(block_columns.dim() == 1, op, ": block_columns: expected [blocks], got ", block_columns.sizes());
  TORCH_CHECK_VALUE(blocks.dim() == 3 && blocks.size(0) == block_columns.numel() && blocks.size(1) == 1 && blocks.size(2) == 4, op,
                    ": blocks: expected [", block_columns.numel(), ", 1, 4] as block_columns, got ", blocks.sizes());
  TORCH_CHECK_VALUE(block_row_offsets.dim() == 1 && block_row_offsets.numel() >= 1, op,
                    ": block_row_offsets: expected [rows + 1], got ", block_row_offsets.sizes());
  const int64_t rows = block_row_offsets.numel() - 1;
  TORCH_CHECK_VALUE(scales.dim() == 1 && scales.numel() == rows, op, ": scales: expected [rows = ", rows, "], got ",
                    scales.sizes());
  check_device(op, "blocks", blocks, like, like_name);
  check_device(op, "block_columns", block_columns, like, like_name);
  check_device(op, "block_row_offsets", block_row_offsets, like, like_name);
  check_device(op, "scales", scales, like, like_name);
  if (key != nullptr) {
    check_tensor(op, "key", *key, at::kLong, "int64");
    TORCH_CHECK_VALUE(key->dim() == 1 && key->numel() == 2, op, ": key: expected [2], got ", key->sizes());
  }
  BsrInt8Weight weight{blocks.contiguous(), block_columns.contiguous(), block_row_offsets.contiguous(), scales.contiguous(),
                       {}, {}};
  weight.quads = {rows, kernels::bsr_int8::quads_of(cols), block_columns.numel(),
                  weight.block_columns.const_data_ptr<int32_t>(), weight.block_row_offsets.const_data_ptr<int32_t>()};
  weight.structure = checked_structure(op, weight, key, compare);
  return weight;
}

at::Tensor check_int8_bias(const char* op, const std::optional<at::Tensor>& bias, int64_t rows, const at::Tensor& input) {
  if (!bias.has_value() || !bias->defined()) {
    return {};
  }
  TORCH_CHECK_VALUE(bias->layout() == at::kStrided && bias->dim() == 1 && bias->size(0) == rows, op,
                    ": bias: expected [rows = ", rows, "], got ", bias->sizes());
  const bool as_input = bias->scalar_type() == input.scalar_type() && input.scalar_type() != at::kByte;
  TORCH_CHECK_TYPE(bias->scalar_type() == at::kFloat || as_input, op, ": bias: expected float32 or the floating-point dtype of input, ",
                   input.scalar_type(), ", got ", bias->scalar_type());
  check_device(op, "bias", *bias, input, "input");
  return bias->to(at::kFloat).contiguous();
}

InputSteps check_input_scale(const char* op, const std::optional<at::Tensor>& input_scale, const at::Tensor& input, int64_t rows) {
  const bool given = input_scale.has_value() && input_scale->defined();
  if (input.scalar_type() == at::kByte) {
    TORCH_CHECK_VALUE(given, op, ": input_scale: expected the scales of the bytes in input, got none");
    check_tensor(op, "input_scale", *input_scale, at::kFloat, "float32");
    TORCH_CHECK_VALUE(input_scale->numel() == rows, op, ": input_scale: expected a scale for each of ", rows,
                      " rows (or images) of bytes, got ", input_scale->sizes());
    check_device(op, "input_scale", *input_scale, input, "input");
    return {0, input_scale->contiguous()};
  }
  if (!given) {
    return {};
  }
  check_tensor(op, "input_scale", *input_scale, at::kFloat, "float32");
  TORCH_CHECK_VALUE(input_scale->numel() == 1, op, ": input_scale: expected one number, got ", input_scale->sizes());
  const float scale = input_scale->item<float>();
  TORCH_CHECK_VALUE(is_scale(scale) || scale == 0, op, ": input_scale: expected a positive number, or 0 for a scale per row, got ",
                    scale);
  return {scale, {}};
}

float check_output_scale(const char* op, const at::Tensor& output_scale) {
  check_tensor(op, "output_scale", output_scale, at::kFloat, "float32");
  TORCH_CHECK_VALUE(output_scale.numel() == 1, op, ": output_scale: expected one number, got ", output_scale.sizes());
  const float scale = output_scale.item<float>();
  TORCH_CHECK_VALUE(is_scale(scale), op, ": output_scale: expected a positive number, got ", scale);
  return scale;
}

bool check_byte_activation(const char* op, std::string_view activation) {
  TORCH_CHECK_VALUE(activation == "none" || activation == "relu", op, ": activation: expected one of none, relu, got '", activation,
                    "'");
  return activation == "relu";
}

void check_int8_input(const char* op, const at::Tensor& input) {
  TORCH_CHECK_VALUE(input.defined() && input.layout() == at::kStrided, op, ": input: expected a dense (strided) tensor");
  const auto dtype = input.scalar_type();
  TORCH_CHECK_TYPE(dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf || dtype == at::kByte, op,
                   ": input: expected float32, bfloat16 or float16, or uint8 with its scales, got ", dtype);
}

void check_int8_sums(const char* op, const char* what, const at::Tensor& input, int64_t products) {
  // Steps of floats are at most 127; a byte may be 128 steps below zero.
  const int64_t most = kernels::bsr_int8::kMaxInFeatures - (input.scalar_type() == at::kByte ? 1 : 0);
  TORCH_CHECK_VALUE(products <= most, op, ": ", what, ": expected at most ", most, " (sums of int8 products are kept in int32), got ",
                    products);
}

}  // namespace jouleprune::ops
