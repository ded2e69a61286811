#include "energy/nest/fibers.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <stdexcept>

namespace jouleprune::energy::nest {
namespace {

/// Gives the ranks of one level's representation to the loops that its tile is cut by.
class RankAssignment {
 public:
  RankAssignment(const SparseTile& tile, const Tensor& tensor, std::vector<Reach> loops, size_t first_rank)
      : tile_(tile), tensor_(tensor), loops_(std::move(loops)), first_rank_(first_rank) {}

  /// Ranks from `first_rank` on, inner to outer.
  void run(std::vector<std::vector<Loop>>& nests, std::vector<Box>& boxes) {
    const bool inwards = !(tile_.has_metadata() && tile_.representation->inner_to_outer);
    if (inwards) std::reverse(loops_.begin(), loops_.end());
    size_t at = 0;
    std::vector<size_t> ranks;
    for (size_t rank = first_rank_; rank < tile_.ranks(); ++rank) ranks.push_back(rank);
    if (inwards) std::reverse(ranks.begin(), ranks.end());
    std::vector<std::pair<std::vector<Loop>, Box>> given;
    for (const size_t rank : ranks) given.push_back(take(rank, at));
    skip_trivial(at);
    if (at < loops_.size()) {
      throw std::invalid_argument("tensor " + tensor_.name + ": expected ranks for all loops of its tile, got " +
                                  std::to_string(tile_.ranks()));
    }
    if (inwards) std::reverse(given.begin(), given.end());
    for (auto& [nest, box] : given) {
      nests.push_back(std::move(nest));
      boxes.push_back(std::move(box));
    }
  }

 private:
  void skip_trivial(size_t& at) const {
    while (at < loops_.size() && loops_[at].loop.bound == 1) ++at;
  }

  /// The flattening list of a rank that holds `dim`; null: none.
  const std::vector<size_t>* list_with(size_t rank, size_t dim) const {
    for (const auto& list : tile_.representation->ranks[rank].flattened) {
      if (std::find(list.begin(), list.end(), dim) != list.end()) return &list;
    }
    return nullptr;
  }

  std::pair<std::vector<Loop>, Box> take(size_t rank, size_t& at) const {
    skip_trivial(at);
    const Box scalar = box_of(tensor_, std::vector<int64_t>(loops_.empty() ? 0 : loops_[0].extents.size(), 1));
    if (at == loops_.size()) return {{}, scalar};
    const std::vector<size_t>* list = nullptr;
    const bool one_rank = !tile_.has_metadata();  // stored as it is: all loops together
    if (!one_rank && !tile_.representation->ranks[rank].flattened.empty()) {
      list = list_with(rank, loops_[at].loop.dim);
      if (list == nullptr) return {{}, scalar};  // this rank cannot hold the loop: it stays empty
    }
    std::vector<Loop> nest{loops_[at].loop};
    Box box = box_of(tensor_, loops_[at].extents);
    ++at;
    if (!one_rank && list == nullptr) return {std::move(nest), std::move(box)};
    while (at < loops_.size()) {
      const Loop& loop = loops_[at].loop;
      const bool listed = one_rank || std::find(list->begin(), list->end(), loop.dim) != list->end();
      if (!listed && loop.bound != 1) break;
      if (loop.bound != 1) {
        nest.push_back(loop);
        const Box reached = box_of(tensor_, loops_[at].extents);
        if (reached.words > box.words) box = reached;
      }
      ++at;
    }
    return {std::move(nest), std::move(box)};
  }

  const SparseTile& tile_;
  const Tensor& tensor_;
  std::vector<Reach> loops_;
  size_t first_rank_;
};

/// Expected {metadata, payload} units of a tile whose occupancy is known.
std::vector<std::array<double, 2>> metadata_of(const SparseTile& tile, const Density& density, const Known& known) {
  std::vector<std::array<double, 2>> units(tile.ranks());
  double fibers = 1;
  const Box* around = &tile.box;
  for (size_t rank = tile.ranks(); rank-- > 0;) {
    const auto shape = static_cast<double>(tile.fibers.shapes[rank]);
    const bool outermost = tile.representation->inner_to_outer ? rank == 0 : rank + 1 == tile.ranks();
    if (shape != 1 || outermost) {
      const double filled = fibers * (1 - density.probability(*around, 0, &known));
      const double kept = 1 - density.probability(tile.fibers.tiles[rank], 0, &known);
      switch (tile.representation->ranks[rank].format) {
        case Format::kBitmask:
          units[rank] = {filled * shape, filled * std::ceil(shape * kept)};
          break;
        case Format::kUncompressedBitmask:
          units[rank] = {fibers * shape, fibers * shape};
          break;
        case Format::kCoordinates:
          units[rank] = {filled * std::ceil(shape * kept), filled * std::ceil(shape * kept)};
          break;
        case Format::kRunLengths:
          units[rank] = {filled * shape * kept, filled * shape * kept};
          break;
        case Format::kOffsets:
          units[rank] = {0, filled * (shape + 1)};
          break;
      }
    }
    fibers *= shape;
    around = &tile.fibers.tiles[rank];
  }
  // The payload of the innermost rank that holds something is the data itself.
  for (auto& [metadata, payload] : units) {
    if (metadata == 0 && payload == 0) continue;
    payload = 0;
    break;
  }
  return units;
}

}  // namespace

bool Representation::compressed() const {
  return std::any_of(ranks.begin(), ranks.end(), [](const Rank& rank) {
    return rank.format != Format::kOffsets && rank.format != Format::kUncompressedBitmask;
  });
}

Box box_of(const Tensor& tensor, const std::vector<int64_t>& extents) {
  Box box;
  for (const Axis& axis : tensor.axes) {
    int64_t side = 1;
    for (const Term& term : axis) side += std::abs(term.coefficient) * ((extents.empty() ? 1 : extents[term.dim]) - 1);
    box.sides.push_back(side);
    box.words = product(box.words, side);
  }
  return box;
}

std::vector<std::vector<Reach>> reaches(const Workload& workload, const Mapping& mapping) {
  std::vector<std::vector<Reach>> nest(mapping.levels.size());
  std::vector<int64_t> extents(workload.dims.size(), 1);
  for (size_t level = 0; level < nest.size(); ++level) {
    const std::vector<Loop>& loops = mapping.levels[mapping.levels.size() - 1 - level].loops;
    std::vector<bool> used(workload.dims.size(), false);
    for (size_t i = loops.size(); i-- > 0;) {
      extents[loops[i].dim] = product(extents[loops[i].dim], loops[i].bound);
      used[loops[i].dim] = used[loops[i].dim] || !loops[i].spatial();
      nest[level].push_back({loops[i], extents});
    }
    for (size_t dim = 0; dim < used.size(); ++dim) {
      if (!used[dim]) nest[level].push_back({{dim, 1, LoopKind::kTemporal}, extents});
    }
  }
  return nest;
}

void define_fibers(size_t tensor, const Workload& workload, const std::vector<std::vector<Reach>>& nest,
                   std::vector<SparseTile>& tiles) {
  const Tensor& shape = workload.tensors[tensor];
  for (size_t level = 0; level < tiles.size(); ++level) {
    SparseTile& tile = tiles[level];
    if (!tile.kept) continue;
    const auto first_level = static_cast<size_t>(tile.child + 1);
    const SparseTile* child = tile.child >= 0 ? &tiles[static_cast<size_t>(tile.child)] : nullptr;
    // A compressed tensor is cut into the child's tiles beforehand: the child's ranks are the inner ones here too.
    const bool pretiled = tile.compressed() && child != nullptr && child->box.words > 1;
    std::vector<Reach> loops;
    for (size_t l = first_level; l <= level; ++l) {
      for (const Reach& reach : nest[l]) {
        if (shape.uses(reach.loop.dim)) loops.push_back(reach);
      }
    }
    if (!pretiled) {
      std::vector<int64_t> inside(workload.dims.size(), 1);
      for (size_t l = 0; l < first_level; ++l) {
        for (const Reach& reach : nest[l]) inside[reach.loop.dim] *= reach.loop.bound;
      }
      for (Reach& reach : loops) {
        reach.loop.bound *= inside[reach.loop.dim];
        inside[reach.loop.dim] = 1;
      }
    }
    const size_t inner_ranks = pretiled ? child->ranks() : 0;
    if (inner_ranks > tile.ranks()) {
      throw std::invalid_argument("tensor " + shape.name + ": expected as many ranks as the level inside has (" +
                                  std::to_string(inner_ranks) + "), got " + std::to_string(tile.ranks()));
    }
    tile.fibers = {};
    tile.rank_loops.clear();
    if (pretiled) {
      tile.rank_loops = child->rank_loops;
      tile.fibers.tiles = child->fibers.tiles;
    } else {
      tile.fibers.tiles.push_back(box_of(shape, {}));
    }
    RankAssignment(tile, shape, std::move(loops), inner_ranks).run(tile.rank_loops, tile.fibers.tiles);
    for (const std::vector<Loop>& rank : tile.rank_loops) {
      std::vector<int64_t> extents(workload.dims.size(), 1);
      for (const Loop& loop : rank) extents[loop.dim] *= loop.bound;
      tile.fibers.shapes.push_back(box_words(shape, extents));
    }
  }
}

void expect_occupancy(const Density& density, std::vector<SparseTile>& tiles) {
  for (SparseTile& tile : tiles) {
    if (!tile.kept) continue;
    std::vector<std::pair<int64_t, double>> chances = density.distribution(tile.box);
    const bool told = tile.parent >= 0 && tiles[static_cast<size_t>(tile.parent)].has_metadata();
    if (told && !chances.empty() && chances[0].first == 0) {
      // Empty tiles are never sent: only the others are seen.
      const double filled = 1 - chances[0].second;
      tile.instances *= filled;
      for (auto& [occupancy, chance] : chances) chance /= filled;
      chances[0].second = 0;
    }
    tile.occupancy = 0;
    if (tile.has_metadata()) tile.metadata.assign(tile.ranks(), {0, 0});
    for (const auto& [occupancy, chance] : chances) {
      if (chance == 0) continue;
      tile.occupancy += chance * static_cast<double>(occupancy);
      if (!tile.has_metadata()) continue;
      const auto units = metadata_of(tile, density, {tile.box, occupancy});
      for (size_t rank = 0; rank < units.size(); ++rank) {
        for (size_t i = 0; i < 2; ++i) tile.metadata[rank][i] += units[rank][i] * chance;
      }
    }
    tile.density = tile.occupancy / static_cast<double>(tile.box.words);
    if (!tile.has_metadata()) continue;
    for (size_t kind = 0; kind < 3; ++kind) {
      const double visits = static_cast<double>(tile.accesses[kind]) / static_cast<double>(tile.box.words);
      for (const auto& [metadata, payload] : tile.metadata) {
        tile.format[kind].push_back(
            {static_cast<int64_t>(std::ceil(metadata * visits)), static_cast<int64_t>(std::ceil(payload * visits))});
      }
    }
  }
}

}  // namespace jouleprune::energy::nest
