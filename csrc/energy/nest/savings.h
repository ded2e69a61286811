// Accesses that gating and skipping leave out.
#pragma once
#include <vector>

#include "energy/nest/fibers.h"

namespace jouleprune::energy::nest {

/// What is left out at one level of one tensor.
struct Saving {
  bool applies = false, skips = false;
  double probability = 0;  ///< that a tile is left out
};

/// [levels, from the inside][tensors]. `tiles`: [tensors][levels, from the inside].
std::vector<std::vector<Saving>> savings(const Workload& workload, const std::vector<std::vector<Reach>>& nest,
                                         const std::vector<std::vector<SparseTile>>& tiles, const SparseDesign& design);

}  // namespace jouleprune::energy::nest
