// Weights in layout nm, checked, and as csr ones: their values are in csr's order already, so that only a structure is derived.
#pragma once
#include <ATen/core/Tensor.h>

#include "formats/nm.h"

namespace jouleprune::ops {

/// The structure of layout csr: col_indices, row_offsets (int32) and key, on the CPU. Ours alone: nobody changes them.
struct CsrStructure {
  at::Tensor col_indices, row_offsets, key;
};

/// Checks n, m and the sizes. `op` opens messages. Throws c10::ValueError.
formats::NmShape check_nm_shape(const char* op, int64_t rows, int64_t cols, int64_t n, int64_t m);

/// Checks the tensors of a weight and gives its csr structure, which is derived when these indices are first seen and kept for them:
/// found as forms are (packed_forms.h), with the same notice of changes. `values` [rows, kept]: undefined for ops without; `key`: null
/// for ops that have none, which check the structure on each call. `like`: the dense argument, named `like_name`, whose device all
/// share. Throws c10::ValueError, c10::TypeError.
CsrStructure check_nm_weight(const char* op, const at::Tensor& values, const at::Tensor& indices, const at::Tensor* key,
                             const formats::NmShape& shape, const at::Tensor& like, const char* like_name);

}  // namespace jouleprune::ops
