#include "energy/cases/nest_cost.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace jouleprune::energy::cases {
namespace {

// Where a file gives no bandwidth. Four blocks a cycle in and four out are what the published designs have.
constexpr double kBlocksPerCycle = 4;
constexpr double kGatedAccessesPerCycle = 2;  // of one tensor

double blocks(int64_t words, int64_t block) { return static_cast<double>((words + block - 1) / block); }

}  // namespace

NestCost::NestCost(const LoopNestCase& given, const nest::NestCounts& dense, const nest::SparseCounts& sparse)
    : given_(given), dense_(dense), sparse_(sparse) {
  find_cycles();
}

int64_t NestCost::stored(size_t level, size_t tensor) const {
  if (!dense_.levels[level].tensors[tensor].kept) return 0;
  return given_.sparse ? sparse_.levels[level][tensor].most_stored : dense_.levels[level].tensors[tensor].tile;
}

/// Reads, fills, updates that happen; of an instance.
std::array<int64_t, 3> NestCost::actual(size_t level, size_t tensor) const {
  if (given_.sparse) return sparse_.levels[level][tensor].actual;
  const nest::Accesses& accesses = dense_.levels[level].tensors[tensor].accesses;
  return {accesses.reads, accesses.fills, accesses.updates};
}

double NestCost::instances(size_t level, size_t tensor) const {
  return given_.sparse ? sparse_.levels[level][tensor].instances : static_cast<double>(dense_.levels[level].instances);
}

void NestCost::find_cycles() {
  compute_cycles_ = dense_.steps;
  if (given_.sparse) {
    const auto busy = static_cast<double>(sparse_.computes + sparse_.gated_computes);
    compute_cycles_ = static_cast<int64_t>(std::ceil(busy / static_cast<double>(dense_.instances)));
  }
  cycles_ = compute_cycles_;
  for (size_t level = 0; level < given_.levels.size(); ++level) {
    if (given_.levels[level]) cycles_ = std::max(cycles_, level_cycles(level, *given_.levels[level]));
  }
}

/// Cycles at `demand` words per cycle of arithmetic, through `ports`.
int64_t NestCost::throttled(double demand, double ports) const {
  if (demand <= ports) return compute_cycles_;
  return static_cast<int64_t>(std::ceil(static_cast<double>(compute_cycles_) / (ports / demand)));
}

int64_t NestCost::level_cycles(size_t level, const StorageLevel& storage) const {
  if (compute_cycles_ == 0) return 0;
  double reads = 0, writes = 0;
  int64_t cycles = compute_cycles_;
  const auto per_cycle = static_cast<double>(compute_cycles_);
  const bool told = storage.read_bandwidth || storage.write_bandwidth || storage.shared_bandwidth;
  for (size_t tensor = 0; tensor < given_.workload.tensors.size(); ++tensor) {
    if (!dense_.levels[level].tensors[tensor].kept) continue;
    std::array<int64_t, 3> taken = actual(level, tensor);
    int64_t format_read_bits = 0, format_write_bits = 0, gated = 0;
    if (given_.sparse) {
      const nest::SparseAccesses& accesses = sparse_.levels[level][tensor];
      for (size_t kind = 0; kind < 3; ++kind) {
        gated += accesses.gated[kind];
        taken[kind] += accesses.gated[kind];
        const int64_t bits =
            format_bits(level, tensor, accesses.format[kind]) + format_bits(level, tensor, accesses.gated_format[kind]);
        (kind == 0 ? format_read_bits : format_write_bits) += bits;
      }
    }
    // An access that is gated still takes its turn.
    const double turns = static_cast<double>(taken[0] + taken[2]) / per_cycle;
    if (!told && gated > 0) cycles = std::max(cycles, throttled(turns, kGatedAccessesPerCycle));
    const double spread = instances(level, tensor) / static_cast<double>(dense_.levels[level].instances);
    reads += std::ceil(static_cast<double>(taken[0] + format_read_bits / storage.word_bits) * spread) / per_cycle;
    writes += std::ceil(static_cast<double>(taken[1] + taken[2] + format_write_bits / storage.word_bits) * spread) /
              per_cycle;
  }
  if (!told && given_.sparse) {
    const double words = kBlocksPerCycle * static_cast<double>(storage.block_words);
    return std::max({cycles, throttled(reads, words), throttled(writes, words)});
  }
  if (storage.read_bandwidth) cycles = std::max(cycles, throttled(reads, *storage.read_bandwidth));
  if (storage.write_bandwidth) cycles = std::max(cycles, throttled(writes, *storage.write_bandwidth));
  if (storage.shared_bandwidth) cycles = std::max(cycles, throttled(reads + writes, *storage.shared_bandwidth));
  return cycles;
}

int64_t NestCost::format_bits(size_t level, size_t tensor, const std::vector<nest::FormatUnits>& units) const {
  const auto& ranks = given_.design.levels[level].representations[tensor].ranks;
  int64_t bits = 0;
  for (size_t rank = 0; rank < units.size() && rank < ranks.size(); ++rank) {
    bits += units[rank][0] * ranks[rank].metadata_bits + units[rank][1] * ranks[rank].payload_bits;
  }
  return bits;
}

/// Blocks that a compressed tile takes over those its words would fill: the last block of each tile is partly empty.
double NestCost::partly_filled(size_t level, size_t tensor, const StorageLevel& storage) const {
  const int64_t block = storage.block_words, words = dense_.levels[level].tensors[tensor].tile;
  if (!given_.design.levels[level].representations[tensor].compressed() || block == 1) return 1;
  const nest::Box box = tile_box(level, tensor);
  const nest::Density& density = *given_.design.densities[tensor];
  const double share = density.expected(box) / static_cast<double>(words);
  if (share >= 1 || share <= 0) return 1;
  // Sparseloop leaves it out where it is below a hundredth, by tenths of density.
  const double tenths = std::max(std::floor(share / 0.1) * 0.1, 0.1), b = static_cast<double>(block);
  if ((b - 1) / (2 * b * tenths * 0.01) <= static_cast<double>(words / block)) return 1;
  double taken = 0;
  for (const auto& [occupancy, chance] : density.distribution(box)) taken += chance * blocks(occupancy, block);
  return taken / (static_cast<double>(words) * share / b);
}

nest::Box NestCost::tile_box(size_t level, size_t tensor) const {
  std::vector<int64_t> extents(given_.workload.dims.size(), 1);
  for (size_t l = level; l < given_.mapping.levels.size(); ++l) {
    for (const nest::Loop& loop : given_.mapping.levels[l].loops) extents[loop.dim] *= loop.bound;
  }
  nest::Box box;
  for (const nest::Axis& axis : given_.workload.tensors[tensor].axes) {
    int64_t side = 1;
    for (const nest::Term& term : axis) side += std::abs(term.coefficient) * (extents[term.dim] - 1);
    box.sides.push_back(side);
    box.words *= side;
  }
  return box;
}

Priced NestCost::price(size_t level, size_t tensor) const {
  const StorageLevel& storage = *given_.levels[level];
  const std::array<int64_t, 3> counts = actual(level, tensor);
  const double filled = given_.sparse ? partly_filled(level, tensor, storage) : 1;
  const std::array<double, 3> pj{storage.pj.read, storage.pj.write, storage.pj.update};
  double cluster_pj = 0;
  for (size_t kind = 0; kind < 3; ++kind) cluster_pj += blocks(counts[kind], storage.block_words) * filled * pj[kind];
  if (given_.sparse) {
    const nest::SparseAccesses& accesses = sparse_.levels[level][tensor];
    const std::array<double, 3> metadata_pj{storage.pj.metadata_read, storage.pj.metadata_write,
                                            storage.pj.metadata_update};
    for (size_t kind = 0; kind < 3 && storage.metadata_block_bits > 0; ++kind) {
      cluster_pj +=
          blocks(format_bits(level, tensor, accesses.format[kind]), storage.metadata_block_bits) * metadata_pj[kind];
    }
    cluster_pj += static_cast<double>(accesses.compressions) * storage.pj.compression +
                  static_cast<double>(accesses.decompressions) * storage.pj.decompression;
  }
  // Instances of a cluster share each access.
  const auto used = static_cast<double>(dense_.levels[level].instances);
  double clusters = used;
  if (storage.instances != 0) clusters = std::min(used, static_cast<double>(storage.instances / storage.cluster_size));
  Priced priced;
  priced.instance_pj = cluster_pj / (used / std::max(clusters, 1.0));
  priced.total_pj = priced.instance_pj * instances(level, tensor);
  return priced;
}

double NestCost::leakage_pj(size_t level) const {
  double most = 1;
  for (size_t tensor = 0; tensor < given_.workload.tensors.size(); ++tensor)
    most = std::max(most, instances(level, tensor));
  return given_.levels[level]->pj.leak * static_cast<double>(cycles_) * most;
}

}  // namespace jouleprune::energy::cases
