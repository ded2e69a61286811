#include "select/threshold.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace jouleprune::select {
namespace {
// Thresholds are non-negative doubles, which order like their bits: bisection over bits needs at most 63 steps
// anywhere.
constexpr uint64_t kLeastBits = 1;
const uint64_t kInfinityBits = std::bit_cast<uint64_t>(std::numeric_limits<double>::infinity());

/// Least bits in (low, high] that satisfy `holds`, which is monotone, false at low and true at high.
template <typename Predicate>
uint64_t first_bits(uint64_t low, uint64_t high, Predicate holds) {
  while (high - low > 1) {
    const uint64_t middle = low + (high - low) / 2;
    (holds(std::bit_cast<double>(middle)) ? high : low) = middle;
  }
  return high;
}

/// Unsettled counts: an open layer's kept units even where it will run dense.
Counts raw_counts(Problem& problem, const std::vector<Slot>& slots, double threshold, Rounding rounding) {
  Counts counts(slots.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    counts[i] = slots[i].least;
    if (slots[i].open) counts[i] = std::max(counts[i], kept_at(problem.layers[i], threshold, rounding));
  }
  return counts;
}

Counts settled_counts(const Problem& problem, const std::vector<Slot>& slots, Counts counts) {
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].open) counts[i] = settled(problem, i, counts[i]);
  }
  return counts;
}

/// Between the counts of neighbouring thresholds lie units of one score: keeps as many as fit, in position order.
Counts fill_ties(Problem& problem, const std::vector<Slot>& slots, const Counts& few, const Counts& many) {
  const auto with = [&](int64_t ties) {
    Counts counts = few;
    for (size_t i = 0; i < slots.size() && ties > 0; ++i) {
      const int64_t here = std::min(ties, many[i] - few[i]);
      counts[i] += here;
      ties -= here;
    }
    return counts;
  };
  int64_t fits = 0, too_many = 1;
  for (size_t i = 0; i < slots.size(); ++i) too_many += many[i] - few[i];
  while (too_many - fits > 1) {
    const int64_t middle = fits + (too_many - fits) / 2;
    const bool fit = problem.joules->total(settled_counts(problem, slots, with(middle))) <= problem.budget_j;
    (fit ? fits : too_many) = middle;
  }
  return with(fits);
}
}  // namespace

int64_t kept_at(Layer& layer, double threshold, Rounding rounding) {
  const std::vector<Point>& corners = layer.hull.corners();
  const int64_t units = layer.ranking.units();
  if (layer.hull.segments() == 0) return units;
  // Units worth the price per unit of a segment, as far as it matters there: beyond `most` they are as good as `most`.
  const auto wanted = [&](size_t segment, int64_t least, int64_t most) {
    const double slope = layer.hull.slope(segment);
    if (!(slope > 0)) return units;
    const uint32_t key = cut_key(threshold * slope);
    if (rounding != Rounding::kExact) return layer.ranking.at_least(key, rounding);
    const int64_t up_to = layer.ranking.at_least(key, Rounding::kUp), no_less = layer.ranking.at_least(key, Rounding::kDown);
    if (up_to <= least || no_less >= most) return up_to;  // whole bins tell, which costs no pass over the layer
    return layer.ranking.at_least(key);
  };
  // Importance falls and the price rises with the rank, so the segments that are entered come first.
  size_t entered = 0, not_entered = layer.hull.segments();
  int64_t kept = layer.floor;
  while (entered < not_entered) {
    const size_t middle = entered + (not_entered - entered) / 2;
    const int64_t most = middle + 1 == layer.hull.segments() ? units : corners[middle + 1].kept;
    const int64_t count = wanted(middle, corners[middle].kept, most);
    if (count > corners[middle].kept) {
      kept = std::min(count, most);
      entered = middle + 1;
    } else {
      not_entered = middle;
    }
  }
  return std::max(kept, layer.floor);
}

std::optional<Selection> select_at_budget(Problem& problem, const std::vector<Slot>& slots) {
  const auto fits = [&](Rounding rounding) {
    return [&, rounding](double threshold) {
      const Counts counts = settled_counts(problem, slots, raw_counts(problem, slots, threshold, rounding));
      return problem.joules->total(counts) <= problem.budget_j;
    };
  };
  Selection selection;
  if (!fits(Rounding::kExact)(std::numeric_limits<double>::infinity())) return std::nullopt;
  // Bounds from whole bins narrow the threshold to the critical bin of each layer; only those are refined.
  uint64_t high = kInfinityBits, low = kLeastBits;
  if (!fits(Rounding::kUp)(std::bit_cast<double>(low))) high = first_bits(low, high, fits(Rounding::kUp));
  if (!fits(Rounding::kDown)(std::bit_cast<double>(low))) low = first_bits(low, high, fits(Rounding::kDown)) - 1;
  if (fits(Rounding::kExact)(std::bit_cast<double>(low))) {
    high = low;
  } else {
    high = first_bits(low, high, fits(Rounding::kExact));
  }
  selection.threshold = std::bit_cast<double>(high);
  selection.counts = raw_counts(problem, slots, selection.threshold, Rounding::kExact);
  if (high > kLeastBits) {
    const Counts many = raw_counts(problem, slots, std::bit_cast<double>(high - 1), Rounding::kExact);
    selection.counts = fill_ties(problem, slots, selection.counts, many);
  }
  selection.counts = settled_counts(problem, slots, std::move(selection.counts));
  tally(problem, selection);
  return selection;
}

Counts priced_choice(Problem& problem, const std::vector<Slot>& slots, double threshold) {
  Counts counts = raw_counts(problem, slots, threshold, Rounding::kUp);
  size_t best = 0;  // of the present group
  double best_gain = 0;
  for (size_t i = 0; i < slots.size(); ++i) {
    const bool first = i == 0 || problem.layers[i].group != problem.layers[i - 1].group;
    if (first) {
      best = slots.size();
      best_gain = 0;
    }
    if (!slots[i].open) continue;
    const Layer& layer = problem.layers[i];
    const double saved = problem.joules->dense(i) - problem.joules->pruned(i, counts[i]);
    const double gain = threshold * saved - layer.forced - layer.ranking.lost_about(counts[i]);
    if (!(saved > 0) || !(gain >= 0) || (best < slots.size() && !(gain > best_gain))) {
      counts[i] = kDense;
      continue;
    }
    if (best < slots.size()) counts[best] = kDense;
    best = i;
    best_gain = gain;
  }
  return counts;
}

double price_at_budget(Problem& problem, const std::vector<Slot>& slots) {
  const auto fits = [&](double threshold) {
    return problem.joules->total(priced_choice(problem, slots, threshold)) <= problem.budget_j;
  };
  return std::bit_cast<double>(first_bits(0, kInfinityBits, fits));
}

void tally(Problem& problem, Selection& selection) {
  selection.energy_j = problem.joules->total(selection.counts);
  selection.lost = 0;
  for (size_t i = 0; i < selection.counts.size(); ++i) {
    if (selection.counts[i] == kDense) continue;
    selection.lost += problem.layers[i].forced + problem.layers[i].ranking.lost(selection.counts[i]);
  }
}

}  // namespace jouleprune::select
