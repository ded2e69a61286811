// Launcher of linear_csr on CUDA. Knows neither torch nor the rest of the library.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

#include "element_type.h"

namespace jouleprune::cuda {

/// Device pointers; element type `type` where it says void.
struct LinearCsrParams {
  ElementType type = ElementType::kFloat32;
  const void* values = nullptr;          // [nnz]
  const int32_t* col_indices = nullptr;  // [nnz]
  const int32_t* row_offsets = nullptr;  // [rows + 1]
  const void* bias = nullptr;            // [rows] or null
  bool relu = false;                     // clamp at 0; NaN stays NaN
  const void* input = nullptr;           // [n, cols]
  int64_t input_stride = 0;              // elements from one batch row to the next
  void* output = nullptr;                // [n, rows], contiguous
  int64_t n = 0, rows = 0;
};

/// output[j, r] = relu?(bias[r] + sum over c of w[r, c] input[j, c]); sums of 16-bit types in float32.
cudaError_t linear_csr(const LinearCsrParams& params, cudaStream_t stream);

}  // namespace jouleprune::cuda
