// n:m of a weight seen as a matrix [rows, cols]: of each m neighbouring inputs of a row n are kept, the others are zero. Where m does
// not divide cols, the last group of a row is narrower and keeps min(n, its width). Each row holds the same number of entries, so that
// no offsets are stored; entries are row by row, groups ascending. Torch-free.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

namespace jouleprune::formats {

inline constexpr int64_t kMostOfM = 32;

/// Sizes of an n:m matrix.
struct NmShape {
  int64_t rows = 0, cols = 0;
  int64_t n = 2, m = 4;  ///< 1 <= n < m <= 32

  int64_t groups() const { return (cols + m - 1) / m; }  ///< of a row
  /// Entries of a row.
  int64_t kept() const { return cols / m * n + std::min(n, cols % m); }
  int64_t nnz() const { return rows * kept(); }
};

/// Empty, or what is wrong with n and m.
std::string nm_pattern_defect(int64_t n, int64_t m);

/// Empty when the indices within the groups are sound (in range, ascending in a group), else one sentence. `indices`: [rows, kept()].
std::string nm_defect(const NmShape& shape, const uint8_t* indices);

/// 128-bit key of the structure: sizes, n, m and indices; differs from every key of the other layouts.
std::array<int64_t, 2> nm_key(const NmShape& shape, const uint8_t* indices);

/// The columns of the entries, in order: those of layout csr. `columns`: [nnz()].
void nm_columns(const NmShape& shape, const uint8_t* indices, int32_t* columns);

/// Chooses the entries of each group: those that `keep` [rows, cols] names and, where these are fewer than the group holds, its first
/// others. Returns -1, or the first group (row x groups() + group) where `keep` names more than n; `indices` [rows, kept()].
int64_t nm_choose(const NmShape& shape, const bool* keep, uint8_t* indices);

}  // namespace jouleprune::formats
