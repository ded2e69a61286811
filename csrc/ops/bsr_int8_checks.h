// Argument checks that the bsr_int8 ops share.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

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

/// One float32, positive or 0; 0 when absent.
float check_input_scale(const char* op, const std::optional<at::Tensor>& input_scale);

}  // namespace jouleprune::ops
