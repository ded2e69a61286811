// The forms of a weight that products with few batch rows stream through, each element once, as the inner loops see them
// (pointers only: these loops are compiled once per instruction set and share no code with other files). Rows are cut into
// strips, whose rows lie in the lanes of vectors; a strip's sums stay in registers.
#pragma once
#include <cstdint>

namespace jouleprune::kernels::csr::small {

inline constexpr int64_t kBitmapRows = 32, kBitmapColumnStep = 2;

/// Strips of 32 rows, column by column: a mask of the rows that keep the column, and their values one after the other.
/// Bytes: rows x cols / 8, and the values. Time: per column, whatever the mask holds.
template <class T>
struct BitmapView {
  int64_t strips, columns;  ///< columns: padded, with empty masks, to a multiple of kBitmapColumnStep
  const uint32_t* masks;    ///< [strips, columns]; bit i: row i of the strip
  const T* values;          ///< [nnz]
  const int64_t* starts;    ///< [strips + 1], of the values
};

inline constexpr int64_t kJaggedRows = 32, kJaggedColumns = 64;

/// Strips of 32 rows in two vectors, cut into blocks of 64 columns, whose activations fit in four registers: jagged diagonals
/// (Saad 1989), block by block. In a block the rows are sorted by how many values they keep, most first, so that their i-th
/// values fill the first lanes of vector 0 and, once that is full, of vector 1: nothing is padded, and a mask is a count.
/// Step i holds the i-th values of all rows. While vector 1 takes part, vector 0 is full, so that one count does for both.
/// Bytes: 1 per value besides the value; per block 34, and one for each step.
template <class T>
struct JaggedView {
  int64_t strips, blocks_per_strip;
  const uint8_t* blocks;   ///< for each block: JaggedHead, counts [steps] (in vector 1 while paired, then in vector 0)
  const uint8_t* columns;  ///< [nnz], within the block
  const T* values;         ///< [nnz], step by step
  const int64_t* starts;   ///< [strips + 1], of columns and values
  const int64_t* heads;    ///< [strips], where a strip begins in `blocks`
};

struct JaggedHead {
  uint8_t steps, paired;       ///< paired: the first steps, in which vector 1 takes part
  uint8_t place[kJaggedRows];  ///< where each row of the strip stands among the sorted ones
};

/// The canonical csr, or the same with shorter indices.
template <class T, class Index>
struct RowsView {
  const int32_t* row_offsets;
  const Index* columns;
  const T* values;
};

}  // namespace jouleprune::kernels::csr::small
