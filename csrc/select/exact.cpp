#include "select/exact.h"

#include <algorithm>

namespace jouleprune::select {
namespace {
constexpr size_t kMostOptions = 4096;      // of one weight: counts of all its patterns
constexpr size_t kMostPairs = 4'000'000;   // looked at for one weight
constexpr double kOrderRounding = 1e-9;         // sums here are added in another order than the network's total

/// How one weight may run, or how all up to it do.
struct State {
  double joules = 0, lost = 0;
  size_t layer = 0;        // that is pruned
  int64_t kept = kDense;
  size_t before = 0;       // place among the points of the weights before
};

/// Cheapest first, each losing less than all cheaper ones.
void keep_undominated(std::vector<State>& points) {
  std::sort(points.begin(), points.end(), [](const State& a, const State& b) {
    return a.joules != b.joules ? a.joules < b.joules : a.lost < b.lost;
  });
  size_t kept = 0;
  for (const State& point : points) {
    if (kept == 0 || point.lost < points[kept - 1].lost) points[kept++] = point;
  }
  points.resize(kept);
}

/// Of the weight whose patterns are the layers [first, last); empty when there are too many.
std::vector<State> options_of(Problem& problem, const std::vector<bool>& may_prune, size_t first, size_t last) {
  std::vector<State> options = {{problem.joules->dense(first), 0, first, kDense, 0}};
  for (size_t i = first; i < last; ++i) {
    Layer& layer = problem.layers[i];
    if (!may_prune[i]) continue;
    if (static_cast<size_t>(layer.ranking.units() - layer.floor) + options.size() >= kMostOptions) return {};
    for (int64_t kept = layer.floor; kept <= layer.ranking.units(); ++kept) {
      if (settled(problem, i, kept) == kDense) break;
      options.push_back({problem.joules->pruned(i, kept), layer.forced + layer.ranking.lost(kept), i, kept, 0});
    }
  }
  keep_undominated(options);
  return options;
}

/// Points of all weights so far with those of one more, within `most` joules; empty when there are too many.
std::vector<State> combined(const std::vector<State>& before, const std::vector<State>& options, double most) {
  if (before.size() * options.size() > kMostPairs) return {};
  std::vector<State> points;
  for (size_t b = 0; b < before.size(); ++b) {
    for (const State& option : options) {
      if (before[b].joules + option.joules > most) break;  // cheapest first
      points.push_back({before[b].joules + option.joules, before[b].lost + option.lost, option.layer, option.kept, b});
    }
  }
  keep_undominated(points);
  return points;
}
}  // namespace

std::optional<Selection> choose_exactly(Problem& problem, const std::vector<bool>& may_prune) {
  std::vector<std::vector<State>> options;
  double rest = problem.joules->total(Counts(may_prune.size(), kDense)), least_after = 0;
  for (size_t first = 0, last; first < may_prune.size(); first = last) {
    last = first;
    while (last < may_prune.size() && problem.layers[last].group == problem.layers[first].group) ++last;
    options.push_back(options_of(problem, may_prune, first, last));
    if (options.back().empty()) return std::nullopt;
    rest -= problem.joules->dense(first);
    least_after += options.back().front().joules;
  }
  std::vector<std::vector<State>> reached = {{{rest, 0, 0, kDense, 0}}};
  for (const std::vector<State>& each : options) {
    least_after -= each.front().joules;
    reached.push_back(combined(reached.back(), each, problem.budget_j * (1 + kOrderRounding) - least_after));
    if (reached.back().empty()) return std::nullopt;
  }
  for (size_t end = reached.back().size(); end-- > 0;) {  // the least importance lost comes last
    Selection selection{Counts(may_prune.size(), kDense), 0, 0, reached.back()[end].lost};
    for (size_t weight = options.size(), at = end; weight > 0; --weight) {
      const State& point = reached[weight][at];
      if (point.kept != kDense) selection.counts[point.layer] = point.kept;
      at = point.before;
    }
    selection.energy_j = problem.joules->total(selection.counts);
    if (selection.energy_j <= problem.budget_j) return selection;
  }
  return std::nullopt;
}

}  // namespace jouleprune::select
