// Between a dense weight [rows, cols] and layout csr. Torch-free.
#pragma once
#include "formats/csr.h"

namespace jouleprune::formats {

/// Counts the kept entries, row by row, into row_offsets [rows + 1]; returns their number. Offsets beyond int32 are cut off: check
/// the number before using them. `kept`: [rows, cols].
inline int64_t csr_offsets(const bool* kept, int64_t rows, int64_t cols, int32_t* row_offsets) {
  int64_t nnz = 0;
  row_offsets[0] = 0;
  for (int64_t r = 0; r < rows; ++r) {
    int64_t row = 0;
    for (int64_t c = 0; c < cols; ++c) {
      row += kept[r * cols + c];
    }
    nnz += row;
    row_offsets[r + 1] = static_cast<int32_t>(nnz);
  }
  return nnz;
}

/// Writes the columns of the kept entries, in canonical order, to col_indices [nnz].
inline void csr_columns(const bool* kept, int64_t rows, int64_t cols, int32_t* col_indices) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      if (kept[r * cols + c]) {
        *col_indices++ = static_cast<int32_t>(c);
      }
    }
  }
}

/// Writes the kept values to dense [rows, cols], whose other entries stay as they are.
template <class T>
void csr_scatter(const CsrView& csr, const T* values, T* dense) {
  for (int64_t r = 0; r < csr.rows; ++r) {
    for (int64_t k = csr.row_offsets[r]; k < csr.row_offsets[r + 1]; ++k) {
      dense[r * csr.cols + csr.col_indices[k]] = values[k];
    }
  }
}

/// Reads the kept entries of dense [rows, cols], in canonical order, into values [nnz].
template <class T>
void csr_sample(const CsrView& csr, const T* dense, T* values) {
  for (int64_t r = 0; r < csr.rows; ++r) {
    for (int64_t k = csr.row_offsets[r]; k < csr.row_offsets[r + 1]; ++k) {
      values[k] = dense[r * csr.cols + csr.col_indices[k]];
    }
  }
}

}  // namespace jouleprune::formats
