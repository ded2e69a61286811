// Ranks of represented tiles, and what they hold: the fibre trees of Sparseloop.
#pragma once
#include <vector>

#include "energy/nest/sparse.h"

namespace jouleprune::energy::nest {

/// A loop and what it reaches: the extents of every dimension, over it and all inside.
struct Reach {
  Loop loop;
  std::vector<int64_t> extents;
};

/// The nest from the inside: [levels, innermost first][loops, innermost first]. Every level also has, outside its own
/// loops, a loop of bound 1 for each dimension it has none of.
std::vector<std::vector<Reach>> reaches(const Workload& workload, const Mapping& mapping);

struct Fibers {
  std::vector<int64_t> shapes;  ///< [ranks] coordinates of a fibre, inner to outer
  std::vector<Box> tiles;       ///< [ranks + 1] what is inside each rank: [0] is inside the innermost
};

/// One tensor at one level, as analysed.
struct SparseTile {
  bool kept = false;
  int child = -1, parent = -1;  ///< levels that keep the tensor next to this one, from the inside; -1: none
  Box box;
  std::array<int64_t, 3> accesses{};  ///< reads, fills, updates without zeros
  const Representation* representation = nullptr;
  std::vector<std::vector<Loop>> rank_loops;  ///< [ranks], of the fibres
  Fibers fibers;
  double density = 1, occupancy = 0;               ///< expected
  std::vector<std::array<double, 2>> metadata;     ///< [ranks] expected {metadata, payload} units of a tile
  std::array<std::vector<FormatUnits>, 3> format;  ///< reads, fills, updates of metadata
  double instances = 1;

  bool has_metadata() const { return representation != nullptr && representation->has_metadata(); }
  bool compressed() const { return representation != nullptr && representation->compressed(); }
  size_t ranks() const { return has_metadata() ? representation->ranks.size() : 1; }
};

Box box_of(const Tensor& tensor, const std::vector<int64_t>& extents);

/// Gives ranks to loops: fills rank_loops and fibers of every level that keeps the tensor. `tiles`: [levels].
void define_fibers(size_t tensor, const Workload& workload, const std::vector<std::vector<Reach>>& nest,
                   std::vector<SparseTile>& tiles);

/// Expected occupancy and metadata of every tile, and the metadata that is moved. `tiles`: [levels].
void expect_occupancy(const Density& density, std::vector<SparseTile>& tiles);

}  // namespace jouleprune::energy::nest
