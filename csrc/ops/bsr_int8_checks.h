// Argument checks that the bsr_int8 ops share.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string_view>

#include "kernels/bsr_int8/bsr_int8_kernels.h"
#include "ops/csr_structure.h"
#include "ops/packed_forms.h"

namespace jouleprune::ops {

/// The tensors of a checked int8 weight, contiguous; the view borrows from them.
struct BsrInt8Weight {
  at::Tensor blocks, block_columns, block_row_offsets, scales;
  formats::CsrView quads;
  CheckedStructure structure;  // empty without a key

  /// Where kernels keep what they derive from this weight, which must outlive it; a key must have been given.
  WeightForms forms() const { return {blocks, block_columns, block_row_offsets, structure}; }
};

/// Checks dtypes, shapes, devices and the structure: against `key` (through check_structure, once per structure), or without one
/// in full. `like`: the argument, named `like_name`, whose device all share. `cols`: columns of the dense weight. `compare`: kWhole
/// where the indices themselves are read.
BsrInt8Weight check_int8_weight(const char* op, const at::Tensor& blocks, const at::Tensor& block_columns,
                                const at::Tensor& block_row_offsets, const at::Tensor* key, const at::Tensor& scales, int64_t cols,
                                const at::Tensor& like, const char* like_name, Compare compare = Compare::kSample);

/// [rows], float32 or the dtype of `input`. Returns it as contiguous float32, undefined when absent.
at::Tensor check_int8_bias(const char* op, const std::optional<at::Tensor>& bias, int64_t rows, const at::Tensor& input);

/// How the input of an int8 op is rounded, or was.
struct InputSteps {
  float scale = 0;    ///< of floats: one for all, or 0
  at::Tensor scales;  ///< of bytes: [rows], contiguous; else undefined
};

/// Floats: one float32, positive or 0, 0 when absent. Bytes: one float32 for each of `rows`, what shares a scale.
InputSteps check_input_scale(const char* op, const std::optional<at::Tensor>& input_scale, const at::Tensor& input, int64_t rows);
/// One positive float32.
float check_output_scale(const char* op, const at::Tensor& output_scale);

/// What is applied to sums that leave as bytes: "none" or "relu". Returns whether it is the latter.
bool check_byte_activation(const char* op, std::string_view activation);

/// Float32, bfloat16, float16 or bytes, strided.
void check_int8_input(const char* op, const at::Tensor& input);
/// At most as many products as sums in int32 hold. `what`: the argument that says how many.
void check_int8_sums(const char* op, const char* what, const at::Tensor& input, int64_t products);

}  // namespace jouleprune::ops
