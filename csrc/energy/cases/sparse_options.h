// What a level of a loop-nest case does with zeros: its `sparse_optimizations`.
#pragma once
#include <string>
#include <vector>

#include "energy/json_reader.h"
#include "energy/nest/sparse.h"

namespace jouleprune::energy::cases {

struct SparseNames {
  const std::vector<std::string>& dims;
  const std::vector<std::string>& tensors;
  int64_t metadata_word_bits;  ///< where a rank names no width
};

/// Fills in representations and optimisations; false when the level has none.
/// A rank of coordinates, run lengths or offsets without a width of its own takes that of the level.
bool read_sparse_options(const Node& level, const SparseNames& names, nest::SparseLevel& design);

}  // namespace jouleprune::energy::cases
