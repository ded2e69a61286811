// Case files of kind loop-nest: a workload, an architecture and a mapping, counted and priced.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "energy/json_reader.h"
#include "energy/nest/sparse.h"

namespace jouleprune::energy::cases {

/// Picojoules of one action: of a block of words, of a unit of metadata, of a cycle.
struct ActionEnergies {
  double read = 0, write = 0, update = 0, leak = 0;
  double metadata_read = 0, metadata_write = 0, metadata_update = 0;
  double compression = 0, decompression = 0;
};

struct StorageLevel {
  std::string name;
  ActionEnergies pj;
  int64_t word_bits = 16, block_words = 1, cluster_size = 1, instances = 0;  ///< instances 0: as many as are used
  std::optional<int64_t> capacity_words;
  int64_t metadata_block_bits = 0, metadata_word_bits = 0;
  std::optional<double> read_bandwidth, write_bandwidth, shared_bandwidth;  ///< words per cycle and instance
};

struct ComputeUnits {
  std::string name;
  double compute_pj = 0, gated_pj = 0, skipped_pj = 0;
  int64_t instances = 0;
};

struct LoopNestCase {
  nest::Workload workload;
  nest::Mapping mapping;
  std::vector<std::optional<StorageLevel>> levels;  ///< as the mapping; none: a spatial level
  ComputeUnits compute;
  nest::SparseDesign design;  ///< levels as the mapping
  bool sparse = false;        ///< some level or the arithmetic makes use of zeros
  std::vector<std::string> assumptions;  ///< a line per value that the file does not give and that counts or cycles depend on
};

LoopNestCase read_loop_nest(const Node& root);

/// What the case's `expected` holds, computed.
Json evaluate(const LoopNestCase& given, const Node& root);

}  // namespace jouleprune::energy::cases
