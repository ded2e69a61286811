#include "energy/nest/savings.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>

namespace jouleprune::energy::nest {
namespace {

/// The loop whose tile of the target is left out as a whole, and those that hold it in place.
struct Leader {
  Loop loop;
  std::vector<int64_t> target;     ///< extents of what is left out
  std::vector<int64_t> condition;  ///< extents of what must be empty for it
  std::vector<Loop> relevant;
  bool scalar = false;
};

class Finder {
 public:
  Finder(const Workload& workload, const std::vector<std::vector<Reach>>& nest,
         const std::vector<std::vector<SparseTile>>& tiles, const SparseDesign& design)
      : workload_(workload), nest_(nest), tiles_(tiles), design_(design) {}

  struct Impact {
    size_t target = 0, level = 0;
    double probability = 0, saved_pj = 0;
  };

  Impact impact(const Condition& condition, size_t from) const {
    Impact result;
    result.target = condition.target;
    result.level = source(condition.target, from);
    const SparseTile& tile = tiles_[condition.target][result.level];
    const Leader leader = find_leader(condition.target, result.level);
    double effectual = 1;
    for (const size_t other : condition.conditions)
      effectual *= 1 - empty_chance(leader, condition.target, other, result.level);
    result.probability = 1 - effectual;
    const SparseLevel& design = level_design(result.level);
    const auto metadata_from = static_cast<size_t>(tile.child >= 0 ? tile.child : static_cast<int>(result.level));
    double words = tile.occupancy;
    for (const auto& [metadata, payload] : tiles_[condition.target][metadata_from].metadata) {
      words += (metadata + payload) * design.metadata_words;
    }
    result.saved_pj = design.read_pj / static_cast<double>(design.block_words) * words * result.probability;
    return result;
  }

 private:
  const SparseLevel& level_design(size_t from_inside) const {
    return design_.levels[design_.levels.size() - 1 - from_inside];
  }

  /// The level at `from` or outside of it that the target comes from.
  size_t source(size_t target, size_t from) const {
    for (size_t level = from; level < nest_.size(); ++level) {
      if (tiles_[target][level].kept) return level;
    }
    throw std::invalid_argument("gating or skipping of " + workload_.tensors[target].name +
                                ": expected a level at or outside it that keeps the tensor, got none");
  }

  Leader find_leader(size_t target, size_t level) const {
    const Tensor& tensor = workload_.tensors[target];
    const int child = tiles_[target][level].child;
    size_t at_level = level, at = nest_[level].size() - 1;
    bool found = false, scalar = false;
    for (auto l = static_cast<size_t>(child + 1); l <= level && !found; ++l) {
      for (size_t i = 0; i < nest_[l].size() && !found; ++i) {
        const Loop& loop = nest_[l][i].loop;
        const bool moves = loop.bound != 1 && tensor.uses(loop.dim);
        if (child >= 0) {
          found = moves;
        } else {
          // At arithmetic a single word is left out; spatial loops at the bottom act as one step.
          const bool last_spatial = i + 1 == nest_[l].size() || !nest_[l][i + 1].loop.spatial();
          found = last_spatial || moves;
          scalar = last_spatial && !loop.spatial();
        }
        if (found) at_level = l, at = i;
      }
    }
    Leader leader{nest_[at_level][at].loop, {}, {}, {}, scalar};
    leader.target = scalar ? std::vector<int64_t>(workload_.dims.size(), 1) : nest_[at_level][at].extents;
    leader.condition = leader.target;
    leader.relevant.push_back(leader.loop);
    hold_in_place(tensor, child >= 0, at_level, at, level, leader);
    return leader;
  }

  /// While the target's tile stays, other loops go on: what they cover of the condition must be empty too.
  void hold_in_place(const Tensor& tensor, bool stored_inside, size_t at_level, size_t at, size_t level,
                     Leader& leader) const {
    bool held = !leader.loop.spatial();  // a temporal loop above already moves the target on
    for (size_t l = at_level; l <= level; ++l) {
      for (size_t i = l == at_level ? at + 1 : 0; i < nest_[l].size(); ++i) {
        const Loop& loop = nest_[l][i].loop;
        if (loop.bound == 1) continue;
        const bool stays = !held && !loop.spatial() && stored_inside && !tensor.uses(loop.dim);
        if (loop.spatial() || stays) {
          leader.condition[loop.dim] *= loop.bound;
          leader.relevant.push_back(loop);
        }
        if (!loop.spatial() && (!stored_inside || tensor.uses(loop.dim))) held = true;
      }
    }
  }

  /// Chance that what `other` must hold for the target's tile to matter is empty.
  double empty_chance(const Leader& leader, size_t target, size_t other, size_t level) const {
    const Tensor &tensor = workload_.tensors[target], &condition = workload_.tensors[other];
    // Dimensions of both: a smaller tile of the condition meets a smaller tile of the target.
    std::map<size_t, double> together;
    double iterations = 1;
    bool met = false;
    for (const Loop& loop : leader.relevant) {
      if (leader.scalar) break;
      if (leader.loop.spatial() && met && condition.uses(loop.dim)) return 0;  // would have to be read out of order
      if (!tensor.uses(loop.dim) || !condition.uses(loop.dim)) continue;
      auto& factor = together.try_emplace(loop.dim, 1).first->second;
      factor *= static_cast<double>(loop.bound);
      iterations *= static_cast<double>(loop.bound);
      met = true;
    }
    std::vector<int64_t> extents = leader.condition;
    const auto granularity = static_cast<double>(box_words(tensor, leader.target));
    // Nothing smaller than a block is left out.
    double blocks = std::ceil(static_cast<double>(level_design(level).block_words) / (granularity / iterations));
    for (const auto& [dim, factor] : together) {
      extents[dim] = static_cast<int64_t>(std::ceil(static_cast<double>(extents[dim]) / (factor / blocks)));
      blocks /= factor;
    }
    if (blocks > 1)
      extents[leader.loop.dim] = static_cast<int64_t>(static_cast<double>(extents[leader.loop.dim]) * blocks);
    return design_.densities[other]->probability(box_of(condition, extents), 0);
  }

  const Workload& workload_;
  const std::vector<std::vector<Reach>>& nest_;
  const std::vector<std::vector<SparseTile>>& tiles_;
  const SparseDesign& design_;
};

}  // namespace

std::vector<std::vector<Saving>> savings(const Workload& workload, const std::vector<std::vector<Reach>>& nest,
                                         const std::vector<std::vector<SparseTile>>& tiles,
                                         const SparseDesign& design) {
  std::vector<std::vector<Saving>> found(nest.size(), std::vector<Saving>(workload.tensors.size()));
  const Finder finder(workload, nest, tiles, design);
  for (const bool skips : {false, true}) {
    for (size_t level = 0; level < nest.size(); ++level) {
      for (const Optimization& optimization : design.levels[nest.size() - 1 - level].optimizations) {
        if (optimization.skips != skips || optimization.options.empty()) continue;
        Finder::Impact best;
        double most = -1;
        for (const Condition& option : optimization.options) {
          const Finder::Impact impact = finder.impact(option, level);
          if (impact.saved_pj < most) continue;
          most = impact.saved_pj;
          best = impact;
        }
        Saving& saving = found[best.level][best.target];
        // Of two units that watch the same tile the more effective one counts.
        if (saving.applies && saving.probability >= best.probability) continue;
        saving = {true, skips, best.probability};
      }
    }
  }
  return found;
}

}  // namespace jouleprune::energy::nest
