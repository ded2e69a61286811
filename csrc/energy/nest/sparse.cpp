#include "energy/nest/sparse.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "energy/nest/fibers.h"
#include "energy/nest/savings.h"

namespace jouleprune::energy::nest {
namespace {

enum Kind : size_t { kReads, kFills, kUpdates };

int64_t whole(double value) { return static_cast<int64_t>(value); }

/// Rounds down, and up; what is whole but for the rounding of a share counts as whole.
double down(double value) { return std::floor(value + 1e-9 + 4e-15 * value); }
double up(double value) { return std::ceil(value - 1e-9 - 4e-15 * value); }

/// What remains after a share is left out; whole accesses are left out only.
int64_t without(int64_t count, double share) { return count - whole(down(static_cast<double>(count) * share)); }

class Combiner {
 public:
  Combiner(const Workload& workload, const Mapping& mapping, const NestCounts& dense, const SparseDesign& design)
      : workload_(workload), design_(design), dense_(dense), nest_(reaches(workload, mapping)) {
    for (size_t tensor = 0; tensor < workload.tensors.size(); ++tensor) {
      tiles_.push_back(make_tiles(tensor));
      define_fibers(tensor, workload, nest_, tiles_.back());
      expect_occupancy(*design.densities[tensor], tiles_.back());
    }
    savings_ = savings(workload, nest_, tiles_, design);
  }

  SparseCounts run() {
    SparseCounts counts;
    counts.levels.assign(nest_.size(), std::vector<SparseAccesses>(workload_.tensors.size()));
    computes_ = static_cast<double>(dense_.macs());
    watched_.assign(workload_.tensors.size(), {false, 0});
    for (size_t tensor = 0; tensor < workload_.tensors.size(); ++tensor) {
      std::vector<SparseAccesses> levels(nest_.size());
      for (size_t level = 0; level < nest_.size(); ++level) levels[level] = represented(tensor, level);
      propagate(tensor, levels);
      convert(tensor, levels);
      for (size_t level = 0; level < nest_.size(); ++level) {
        counts.levels[nest_.size() - 1 - level][tensor] = std::move(levels[level]);
      }
    }
    count_computes(counts);
    return counts;
  }

 private:
  size_t outside(size_t level) const { return nest_.size() - 1 - level; }

  std::vector<SparseTile> make_tiles(size_t tensor) const {
    std::vector<SparseTile> tiles(nest_.size());
    int child = -1;
    for (size_t level = 0; level < tiles.size(); ++level) {
      const LevelCounts& counts = dense_.levels[outside(level)];
      SparseTile& tile = tiles[level];
      tile.instances = static_cast<double>(counts.instances);
      if (!counts.tensors[tensor].kept) continue;
      tile.kept = true;
      tile.child = child;
      if (child >= 0) tiles[static_cast<size_t>(child)].parent = static_cast<int>(level);
      child = static_cast<int>(level);
      tile.box = box_of(workload_.tensors[tensor], nest_[level].back().extents);
      const Accesses& accesses = counts.tensors[tensor].accesses;
      tile.accesses = {accesses.reads, accesses.fills, accesses.updates};
      tile.representation = &design_.levels[outside(level)].representations[tensor];
    }
    return tiles;
  }

  /// Accesses that the representation leaves: empty elements of a tensor with metadata are not there.
  SparseAccesses represented(size_t tensor, size_t level) const {
    const SparseTile& tile = tiles_[tensor][level];
    SparseAccesses accesses;
    accesses.actual = tile.accesses;
    accesses.format = tile.format;
    accesses.instances = tile.instances;
    if (tile.kept) {
      accesses.most_stored = tile.has_metadata() ? design_.densities[tensor]->most(tile.box) : tile.box.words;
    }
    if (tile.has_metadata()) {
      for (int64_t& count : accesses.actual) count = without(count, 1 - tile.density);
    }
    return accesses;
  }

  /// What a level leaves out never reaches the levels inside it; from the next level on that leaves something out
  /// itself, that level's own share counts.
  void propagate(size_t tensor, std::vector<SparseAccesses>& levels) {
    std::vector<bool> done(levels.size(), false);
    for (size_t level = levels.size(); level-- > 0;) {
      const Saving& saving = savings_[level][tensor];
      if (!saving.applies) continue;
      if (!done[level]) leave_out(tensor, level, saving.probability, levels[level]);
      done[level] = true;
      size_t inner = level;
      bool reached = true;
      while (inner-- > 0) {
        for (int64_t& count : levels[inner].actual) count = without(count, saving.probability);
        for (auto& ranks : levels[inner].format) {
          const size_t sent = std::min(ranks.size(), std::max<size_t>(levels[level].format[kReads].size(), 1) - 1);
          for (size_t rank = 0; rank < sent; ++rank) {
            for (int64_t& units : ranks[rank]) units = without(units, saving.probability);
          }
        }
        const Saving& own = savings_[inner][tensor];
        if (!own.applies) continue;
        const double left = 1 - saving.probability;
        leave_out(tensor, inner, left > 0 ? 1 - (1 - own.probability) / left : 0, levels[inner]);
        done[inner] = true;
        reached = false;
        break;
      }
      if (reached && !workload_.tensors[tensor].read_write) {
        const double unreached = down(computes_ * saving.probability);
        computes_ -= unreached;
        if (!saving.skips) unfed_ += unreached;
        watched_[tensor] = {true, std::round(saving.probability * 1e6) / 1e6};
      }
    }
  }

  /// Gates or skips the share of a level's own reads and updates.
  void leave_out(size_t tensor, size_t level, double share, SparseAccesses& accesses) const {
    const SparseTile& tile = tiles_[tensor][level];
    auto& gone = savings_[level][tensor].skips ? accesses.skipped : accesses.gated;
    const double reads = static_cast<double>(accesses.actual[kReads]) * share;
    // Reads of a sum and its updates must agree, so the reads round up.
    const int64_t read = whole(workload_.tensors[tensor].read_write ? up(reads) : down(reads));
    const int64_t updated = whole(down(static_cast<double>(accesses.actual[kUpdates]) * share));
    gone[kReads] += read;
    gone[kUpdates] += updated;
    accesses.actual[kReads] -= read;
    accesses.actual[kUpdates] -= updated;
    // Only the ranks that the level inside wants are sent with the data.
    size_t sent = tile.has_metadata() ? tile.ranks() : 0;
    if (tile.child >= 0) {
      const SparseTile& child = tiles_[tensor][static_cast<size_t>(tile.child)];
      sent = std::min(sent, child.has_metadata() ? child.ranks() : 0);
    }
    for (const Kind kind : {kReads, kUpdates}) {
      accesses.gated_format[kind].resize(accesses.format[kind].size());
      for (size_t rank = 0; rank < sent; ++rank) {
        for (size_t i = 0; i < 2; ++i) {
          const int64_t units = accesses.format[kind][rank][i];
          accesses.format[kind][rank][i] = without(units, share);
          if (!savings_[level][tensor].skips)
            accesses.gated_format[kind][rank][i] = units - accesses.format[kind][rank][i];
        }
      }
    }
  }

  /// Words that change between compressed and plain on their way between a level and the one outside.
  void convert(size_t tensor, std::vector<SparseAccesses>& levels) const {
    for (size_t level = 0; level < levels.size(); ++level) {
      const SparseTile& tile = tiles_[tensor][level];
      if (!tile.kept || tile.compressed()) continue;
      if (tile.child >= 0 && tiles_[tensor][static_cast<size_t>(tile.child)].compressed()) {
        throw std::invalid_argument("tensor " + workload_.tensors[tensor].name +
                                    ": expected no compressed level inside one that is not, got one");
      }
      if (tile.parent < 0 || !tiles_[tensor][static_cast<size_t>(tile.parent)].compressed()) continue;
      levels[level].decompressions = levels[level].actual[kFills];
      if (workload_.tensors[tensor].read_write) {
        levels[level].compressions = levels[static_cast<size_t>(tile.parent)].actual[kUpdates];
      }
    }
  }

  /// Chances that an operand at arithmetic is not zero, there but zero, or not there.
  struct Operand {
    double nonzero, zero, absent;
  };

  std::vector<Operand> operands() const {
    std::vector<size_t> read;
    for (size_t tensor = 0; tensor < workload_.tensors.size(); ++tensor) {
      if (!workload_.tensors[tensor].read_write) read.push_back(tensor);
    }
    std::vector<Operand> states;
    for (const size_t tensor : read) {
      const Box word = box_of(workload_.tensors[tensor], {});
      double nonzero = std::round(1e6 * design_.densities[tensor]->expected(word)) / 1e6;
      // Where accesses to the others were left out because this operand was empty, it is fuller than on average.
      double seen = 1;
      for (const size_t other : read) {
        if (other != tensor && watched_[other].watches) seen *= 1 - watched_[other].empty;
      }
      nonzero = seen > 0 ? std::clamp(nonzero / seen, 0.0, 1.0) : 0;
      const bool told = innermost_has_metadata(tensor);
      states.push_back({nonzero, told ? 0 : 1 - nonzero, told ? 1 - nonzero : 0});
    }
    return states;
  }

  bool innermost_has_metadata(size_t tensor) const {
    for (const SparseTile& tile : tiles_[tensor]) {
      if (tile.kept) return tile.has_metadata();
    }
    return false;
  }

  void count_computes(SparseCounts& counts) const {
    double all_nonzero = 1, all_there = 1, all_absent = 1;
    for (const Operand& operand : operands()) {
      all_nonzero *= operand.nonzero;
      all_there *= operand.nonzero + operand.zero;
      all_absent *= operand.absent;
    }
    const double total = std::floor(computes_);
    const double some_zero = total * (all_there - all_nonzero);     // all there, some of them zero
    const double unaligned = total * (1 - all_there - all_absent);  // some there, some not
    const double gated = design_.gate_zero_operands ? some_zero + (design_.skip_unaligned_operands ? 0 : unaligned) : 0;
    const double skipped = design_.skip_unaligned_operands ? unaligned : 0;
    counts.unfed_computes = whole(unfed_);
    counts.gated_computes = whole(down(std::max(gated, 0.0)));
    counts.skipped_computes = whole(down(std::max(skipped, 0.0)));
    counts.computes = whole(total) - counts.gated_computes - counts.skipped_computes - whole(down(total * all_absent));
  }

  struct Watched {
    bool watches;
    double empty;
  };

  const Workload& workload_;
  const SparseDesign& design_;
  const NestCounts& dense_;
  std::vector<std::vector<Reach>> nest_;        // from the inside
  std::vector<std::vector<SparseTile>> tiles_;  // [tensors][levels, from the inside]
  std::vector<std::vector<Saving>> savings_;    // [levels, from the inside][tensors]
  double computes_ = 0, unfed_ = 0;
  std::vector<Watched> watched_;  // [tensors]
};

}  // namespace

SparseCounts count_sparse(const Workload& workload, const Mapping& mapping, const NestCounts& dense,
                          const SparseDesign& design) {
  return Combiner(workload, mapping, dense, design).run();
}

}  // namespace jouleprune::energy::nest
