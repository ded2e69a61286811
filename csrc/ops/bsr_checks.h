// Argument checks that the bsr ops share, beside those of csr_checks.h.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "formats/bsr.h"
#include "ops/csr_structure.h"
#include "ops/packed_forms.h"

namespace jouleprune::ops {

/// The tensors of a checked weight, contiguous; the view borrows from them.
struct BsrWeight {
  at::Tensor blocks, block_columns, block_row_offsets;  // blocks is undefined where the op has none
  formats::BsrView bsr;
  CheckedStructure structure;  // holds the key alone where the structure is checked on each call

  /// Where kernels keep what they derive from this weight, which must outlive it; `blocks` and a key must have been given.
  WeightForms forms() const { return {blocks, block_columns, block_row_offsets, structure}; }
};

/// What a bsr weight consists of, as an op gets it.
struct BsrArguments {
  const at::Tensor* blocks;  ///< null for ops that only use the structure
  at::IntArrayRef block_size;  ///< read from the blocks where they are given
  const at::Tensor &block_columns, &block_row_offsets;
  const at::Tensor* key;  ///< null: the structure is checked on each call
  int64_t rows, cols;
  Compare compare = Compare::kSample;  ///< kWhole for ops that read the indices themselves
  const char *rows_name = "out_features", *cols_name = "in_features";  ///< what the op calls the sizes
};

/// Checks dtypes, shapes, devices and the structure. `like`: the dense argument, named `like_name`, whose device (and dtype, for
/// blocks) all share.
BsrWeight check_bsr_weight(const char* op, const BsrArguments& arguments, const at::Tensor& like, const char* like_name);

/// Two numbers of at least 1.
void check_block_size(const char* op, at::IntArrayRef block_size);

}  // namespace jouleprune::ops
