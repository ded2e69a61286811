// What selection works on: layers of units with importance, and joules as a function of the kept counts. Knows no
// devices.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "select/hull.h"
#include "select/ranking.h"

namespace jouleprune::select {

/// Kept units per layer; kDense = the layer stays as it is, with all units.
using Counts = std::vector<int64_t>;
inline constexpr int64_t kDense = -1;

/// Joules of a network by kept counts; of a group, at most one layer is not kDense. All functions are non-decreasing in each count. May remember what it computed.
class Joules {
 public:
  virtual ~Joules() = default;
  /// The layer as it is, with all units.
  virtual double dense(size_t layer) = 0;
  /// The layer run in its cheapest pruned form with `kept` units.
  virtual double pruned(size_t layer, int64_t kept) = 0;
  /// The whole network; the number that the budget is compared with.
  virtual double total(const Counts& counts) = 0;
};

/// One way to prune a weight. Those of one group exclude each other: at most one of them is pruned.
struct Layer {
  Ranking ranking;
  Hull hull;          ///< of pruned(), from the floor up to where pruning stops to pay (or all units)
  int64_t floor = 0;  ///< units to keep at least
  size_t group = 0;   ///< layers of a group are neighbours, and groups ascend
  double forced = 0;  ///< importance that is lost as soon as the layer is pruned at all
};

struct Problem {
  std::vector<Layer> layers;  ///< in the order that breaks ties
  Joules* joules = nullptr;
  double budget_j = 0;
};

/// What a search may do with a layer.
struct Slot {
  bool open = false;  ///< whether the threshold decides
  int64_t least = 0;  ///< open: units to keep at least; else the count that stays
};

struct Selection {
  Counts counts;
  double threshold = 0;  ///< importance per joule: units worth less went
  double energy_j = 0;
  double lost = 0;  ///< importance of all removed units
};

/// Whether any weight may be pruned in several ways.
inline bool has_alternatives(const Problem& problem) {
  for (size_t i = 1; i < problem.layers.size(); ++i) {
    if (problem.layers[i].group == problem.layers[i - 1].group) return true;
  }
  return false;
}

/// Turns off what excludes the layers that `prune` marks, but for `chosen`.
inline void exclude_others(const Problem& problem, size_t chosen, std::vector<bool>& prune) {
  for (size_t i = 0; i < prune.size(); ++i) {
    if (i != chosen && problem.layers[i].group == problem.layers[chosen].group) prune[i] = false;
  }
}

/// The layer with `kept` units as it will run: dense, with all units back, where pruning it that little saves nothing.
inline int64_t settled(const Problem& problem, size_t layer, int64_t kept) {
  return problem.joules->pruned(layer, kept) < problem.joules->dense(layer) ? kept : kDense;
}

}  // namespace jouleprune::select
