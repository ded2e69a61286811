// Zeros in a nest of loops: how tensors are represented, which accesses are gated or skipped, what that leaves.
// Model: Wu, Tsai, Parashar, Sze, Emer, "Sparseloop", MICRO 2022; docs/energy_model.md.
#pragma once
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "energy/nest/density.h"
#include "energy/nest/loop_nest.h"

namespace jouleprune::energy::nest {

/// How one rank of a tensor names its non-empty coordinates. Metadata: what tells coordinates; payload: what points to
/// the rank inside.
enum class Format {
  kBitmask,              ///< a bit per coordinate
  kUncompressedBitmask,  ///< a bit per coordinate, and every payload
  kCoordinates,          ///< CP: a coordinate per non-empty payload
  kRunLengths,           ///< RLE: a run length per non-empty payload
  kOffsets,              ///< UOP: an offset per coordinate, and one more. CSR is kOffsets over kCoordinates
};

struct Rank {
  Format format = Format::kCoordinates;
  std::vector<std::vector<size_t>> flattened;  ///< dimensions that one rank may hold together; empty: one loop a rank
  int64_t metadata_bits = 0, payload_bits = 0;
};

/// Empty: stored as it is, without metadata.
struct Representation {
  std::vector<Rank> ranks;      ///< inner to outer
  bool inner_to_outer = false;  ///< order in which ranks are given to loops

  bool has_metadata() const { return !ranks.empty(); }
  bool compressed() const;
};

/// Accesses to `target` are left out when the tile of a tensor of `conditions` is empty.
struct Condition {
  size_t target = 0;
  std::vector<size_t> conditions;
};

struct Optimization {
  bool skips = false;              ///< saves the cycle as well; false: gates, which saves the energy
  std::vector<Condition> options;  ///< the one that saves most is taken
};

struct SparseLevel {
  std::vector<Representation> representations;  ///< [tensors]
  std::vector<Optimization> optimizations;
  int64_t block_words = 1;
  double read_pj = 0;         ///< per block: chooses among options
  double metadata_words = 0;  ///< words per unit of metadata: weighs options
};

struct SparseDesign {
  std::vector<SparseLevel> levels;                        ///< as the mapping: outer to inner
  std::vector<std::shared_ptr<const Density>> densities;  ///< [tensors]
  bool gate_zero_operands = false;       ///< arithmetic does nothing when an operand that is there is zero
  bool skip_unaligned_operands = false;  ///< arithmetic skips when only one operand is there
};

/// {metadata, payload} of one rank.
using FormatUnits = std::array<int64_t, 2>;

/// Of one tensor at one level, per instance.
struct SparseAccesses {
  std::array<int64_t, 3> actual{}, gated{}, skipped{};  ///< reads, fills, updates
  std::array<std::vector<FormatUnits>, 3> format;       ///< actual reads, fills, updates; ranks inner to outer
  std::array<std::vector<FormatUnits>, 3> gated_format;
  int64_t compressions = 0, decompressions = 0;  ///< words
  int64_t most_stored = 0;                       ///< words
  double instances = 1;                          ///< mean of those that hold something
};

struct SparseCounts {
  std::vector<std::vector<SparseAccesses>> levels;                 ///< [levels][tensors]
  int64_t computes = 0, gated_computes = 0, skipped_computes = 0;  ///< all instances
  int64_t unfed_computes = 0;  ///< never reached, as their operand was gated on its way; their cycle passes all the same
};

/// Throws std::invalid_argument when a representation has too few ranks for the loops, or an optimisation no source.
SparseCounts count_sparse(const Workload& workload, const Mapping& mapping, const NestCounts& dense,
                          const SparseDesign& design);

}  // namespace jouleprune::energy::nest
