// What the kernels of layout csr are given.
#pragma once
#include <cstdint>

#include "epilogue.h"

namespace jouleprune::cuda::csr {

/// A weight [rows, cols], or its transpose through an index on the same values.
struct Matrix {
  const void* values;      // [nnz]
  const int32_t* columns;  // [nnz]
  const int32_t* offsets;  // [rows + 1]
  const int32_t* sources;  // [nnz]: where the value of an entry stands; null: where the entry does
  const int32_t* order;    // [rows]: rows by length, longest first, so that the last blocks to start are short ones
  int64_t rows, cols;
};

struct ProductParams {
  Matrix matrix;
  const void*
      x;  // by entries: [n, cols], x_stride elements from one batch row to the next; by tokens: [cols, x_stride]
  int64_t x_stride;
  void* y;           // by entries: [n, rows]; by tokens: [rows, y_stride]
  int64_t y_stride;  // by tokens alone
  int64_t n;
  Epilogue epilogue;
};

/// gradient[k] = sum over the batch of dy[row(k), .] x[column(k), .]
struct GradientParams {
  const int32_t *entry_rows, *columns;  // [nnz]
  int64_t nnz;
  const void *dy, *x;  // feature-major, `pitch` elements a row; zero beyond n
  int64_t pitch, n;
  void* gradient;  // [nnz]
};

}  // namespace jouleprune::cuda::csr
