// CSR of a weight seen as a matrix [rows, cols]: canonical order (rows ascending, columns ascending in a row). Torch-free.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>

namespace jouleprune::formats {

/// Structure of a CSR matrix, borrowed.
struct CsrView {
  int64_t rows = 0, cols = 0, nnz = 0;
  const int32_t* col_indices = nullptr;  ///< [nnz], ascending in each row, in [0, cols)
  const int32_t* row_offsets = nullptr;  ///< [rows + 1], non-decreasing, first 0, last nnz
};

/// 128-bit key of the structure: sizes, offsets and indices; stable across machines and versions of schema 1.
std::array<int64_t, 2> csr_key(const CsrView& csr);

/// What a layout calls the parts of its structure, for messages.
struct CsrNames {
  const char *rows = "rows", *cols = "cols", *nnz = "nnz", *indices = "col_indices", *offsets = "row_offsets";
};

/// Empty when the structure is sound, else one sentence: what, where, expected, got.
std::string csr_defect(const CsrView& csr, const CsrNames& names = {});

}  // namespace jouleprune::formats
