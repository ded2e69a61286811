// What the csr kernels need beside the canonical structure, made once per structure on the host.
#pragma once
#include <cstdint>
#include <vector>

namespace jouleprune::cuda::csr {

/// A structure as formats/csr.h has it, on the host.
struct HostStructure {
  int64_t rows, cols, nnz;
  const int32_t* columns;  // [nnz]
  const int32_t* offsets;  // [rows + 1]
};

/// Rows by length, longest first; rows of one length in their order.
std::vector<int32_t> longest_first(const int32_t* offsets, int64_t rows);

/// The row of each entry.
std::vector<int32_t> rows_of_entries(const HostStructure& structure);

/// Columns as of the block-diagonal matrix [rows, groups * cols]: those of a row lie in the part of its group. `groups` divides rows.
std::vector<int32_t> columns_over_groups(const HostStructure& structure, int64_t groups);

/// The transpose: entries in the order of columns, and where their values stand in the canonical ones.
struct TransposedIndex {
  std::vector<int32_t> offsets, columns, sources;
};
TransposedIndex transposed(const HostStructure& structure);

}  // namespace jouleprune::cuda::csr
