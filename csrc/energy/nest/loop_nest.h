// A computation as a nest of loops over stored tensors: what fixed-nest devices run, layer by layer.
// Words and rules: docs/energy_model.md, "Accelerators with a mapping: fixed-nest".
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace jouleprune::energy::nest {

/// Coordinate of one tensor axis: sum of coefficient x index over the terms. A sliding window has two terms.
struct Term {
  size_t dim = 0;  ///< of Workload::dims
  int64_t coefficient = 1;
};
using Axis = std::vector<Term>;

struct Tensor {
  std::string name;
  std::vector<Axis> axes;
  bool read_write = false;  ///< accumulates: read and updated; others are read only

  bool uses(size_t dim) const;
};

struct Workload {
  std::vector<std::string> dims;
  std::vector<int64_t> bounds;  ///< of each dimension, at least 1
  std::vector<Tensor> tensors;
};

enum class LoopKind { kTemporal, kSpatialX, kSpatialY };

struct Loop {
  size_t dim = 0;
  int64_t bound = 1;
  LoopKind kind = LoopKind::kTemporal;

  bool spatial() const { return kind != LoopKind::kTemporal; }
};

/// One level of a mapping. Its tile of a tensor is what its own loops and those inside reach.
struct MappingLevel {
  std::string name;
  std::vector<bool> keeps;  ///< [tensors]; the others bypass this level
  std::vector<Loop> loops;  ///< outer to inner
};

struct Mapping {
  std::vector<MappingLevel> levels;  ///< outer to inner
};

/// Words that one instance of a level moves of one tensor while the whole nest runs.
struct Accesses {
  int64_t reads = 0;    ///< to the level inside, or to arithmetic
  int64_t fills = 0;    ///< from the level outside
  int64_t updates = 0;  ///< results from inside
};

struct TensorCounts {
  bool kept = false;
  int64_t tile = 0;       ///< words of the box that the level holds at a time
  int64_t partition = 0;  ///< words of the tensor that one instance ever sees
  Accesses accesses;
};

struct LevelCounts {
  int64_t instances = 1;              ///< spatial copies that are used
  int64_t x = 1, y = 1;               ///< of which along each axis of the array
  std::vector<TensorCounts> tensors;  ///< [tensors]
};

struct NestCounts {
  std::vector<LevelCounts> levels;  ///< as the mapping: outer to inner
  int64_t instances = 1;            ///< of arithmetic units
  int64_t steps = 1;                ///< of one arithmetic unit, in time
  int64_t x = 1, y = 1;
  int64_t macs() const { return instances * steps; }
};

/// Closed form, without walking the loops. The mapping must factor the workload exactly: throws std::invalid_argument
/// where it does not, or where a count does not fit in 2^53.
/// Rules (Parashar et al., Timeloop, ISPASS 2019): a tile is the bounding box of a tensor's projection; a read-only
/// tile that moves along one axis fetches what is new; when an inner loop has started again as well the whole tile is
/// fetched, unless it is the one that is there; one access serves all spatial instances that want the same words;
/// outputs are updated once per change of tile, and read back but for the first visit.
NestCounts count(const Workload& workload, const Mapping& mapping);

/// a x b; throws std::invalid_argument above 2^53.
int64_t product(int64_t a, int64_t b);

/// Words of the bounding box of a tensor's projection of `extents` [dims].
int64_t box_words(const Tensor& tensor, const std::vector<int64_t>& extents);

}  // namespace jouleprune::energy::nest
