// The transposed index of a bsr structure: the entries of the transposed walks (walks.h), made once per structure on
// the host. Values stay where they are.
#pragma once
#include <cstdint>
#include <vector>

namespace jouleprune::cuda::bsr {

/// A structure as formats/bsr.h has it, on the host.
struct HostStructure {
  int64_t rows, cols, r, c;
  const int32_t* block_columns;      // [blocks]
  const int32_t* block_row_offsets;  // [ceil(rows / r) + 1]
};

struct TransposedIndex {
  std::vector<int32_t> offsets;  // [groups + 1]
  std::vector<int32_t> places;   // [entries]: block rows, ascending in a group
  std::vector<int32_t> sources;  // [entries] blocks, or [entries, 16] vectors and -1
};

/// c > 1: a group per block column.
TransposedIndex transposed_blocks(const HostStructure& structure);
/// c = 1: a group per 16 inputs.
TransposedIndex transposed_vectors(const HostStructure& structure);

/// Most entries of a group.
int64_t longest(const int32_t* offsets, int64_t groups);

}  // namespace jouleprune::cuda::bsr
