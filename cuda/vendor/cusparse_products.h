// Products with layouts csr and bsr by cuSPARSE. All matrices of activations are row-major [n, features], which cuSPARSE is told of as
// column-major [features, n]: then no operand is transposed, and the algorithms that give the same bits in every run apply.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "element_type.h"
#include "vendor/cusparse_api.h"

namespace jouleprune::cuda::vendor {

/// W [rows, cols]; of layout bsr where r or c is above 1: then r divides rows, c divides cols, and `entries` counts blocks.
struct SparseWeight {
  ElementType type;
  int64_t rows, cols, entries;
  int32_t r, c;
  const int32_t* offsets;  // [rows / r + 1]
  const int32_t* columns;  // [entries]
  const void* values;      // [entries, r, c]
};

/// output [n, rows] = input [n, cols] W^T.
struct SparseProduct {
  SparseWeight weight;
  const void* input;
  int64_t input_stride;  // elements from one batch row to the next
  int64_t n;
  void* output;
};

/// gradient [entries] = the kept entries of grad_output^T [rows, n] input [n, cols]; layout csr. `weight.values` is not read.
struct SampledProduct {
  SparseWeight weight;
  const void* grad_output;
  int64_t grad_output_stride;
  const void* input;
  int64_t input_stride;
  int64_t n;
  void* gradient;
};

/// Gives memory of the device for as long as the call's work takes.
using Workspace = std::function<void*(size_t bytes)>;

/// Empty, or which call failed and what the library says: types and shapes that it serves differ from release to release.
std::string run(const CusparseApi& api, void* handle, const SparseProduct& product, const Workspace& workspace);
std::string run(const CusparseApi& api, void* handle, const SampledProduct& product, const Workspace& workspace);

}  // namespace jouleprune::cuda::vendor
