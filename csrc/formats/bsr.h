// BSR of a weight seen as a matrix [rows, cols]: dense blocks of r x c entries, row-major within a block; block rows ascending,
// block columns ascending in a block row. Where rows or cols are no multiple of r or c the last blocks reach beyond the matrix:
// what lies there is padding, never read as a weight. Layout "vector" is the case c = 1. Torch-free.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "formats/csr.h"

namespace jouleprune::formats {

/// Structure of a BSR matrix, borrowed.
struct BsrView {
  int64_t rows = 0, cols = 0;          ///< of the matrix, in entries
  int64_t r = 1, c = 1;                ///< entries of a block, down and across
  int64_t blocks = 0;                  ///< kept
  const int32_t* block_columns = nullptr;      ///< [blocks], ascending in each block row, in [0, across())
  const int32_t* block_row_offsets = nullptr;  ///< [down() + 1], non-decreasing, first 0, last `blocks`

  int64_t down() const { return (rows + r - 1) / r; }    ///< block rows
  int64_t across() const { return (cols + c - 1) / c; }  ///< block columns
  /// The structure of the blocks as one of entries.
  CsrView block_view() const { return {down(), across(), blocks, block_columns, block_row_offsets}; }
};

/// 128-bit key of the structure: sizes, block size, offsets and columns; differs from every csr_key.
std::array<int64_t, 2> bsr_key(const BsrView& bsr);

/// Empty when the structure is sound, else one sentence: what, where, expected, got.
std::string bsr_defect(const BsrView& bsr);

}  // namespace jouleprune::formats
