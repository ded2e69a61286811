#include "select/bound.h"

#include <algorithm>
#include <cmath>

#include "select/threshold.h"

namespace jouleprune::select {
namespace {
constexpr int64_t kUnitsLookedAt = 100'000'000;
constexpr int64_t kMostSteps = 60, kLeastSteps = 4;
constexpr double kFirstFactor = 4;
constexpr double kRounding = 1e-13;  // of joules, per layer: large sums cancel, and a bound must not be above the truth

/// The dual function: least of importance lost + price x (joules above the budget) over all choices of each weight. At a price the
/// best count of a layer is where importance meets price x slope of its hull; dense is always a choice.
double dual(Problem& problem, const std::vector<bool>& may_prune, double dense_j, double price) {
  const double rounding = kRounding * dense_j * static_cast<double>(may_prune.size());
  double sum = price * (dense_j - problem.budget_j - rounding), best = 0;
  for (size_t i = 0; i < may_prune.size(); ++i) {
    Layer& layer = problem.layers[i];
    if (i > 0 && layer.group != problem.layers[i - 1].group) {
      sum += best;
      best = 0;
    }
    if (!may_prune[i] || layer.hull.corners().empty()) continue;
    const int64_t kept = std::min(kept_at(layer, price), layer.hull.corners().back().kept);
    const double here = layer.forced + layer.ranking.lost(kept) + price * (layer.hull.at(kept) - problem.joules->dense(i));
    best = std::min(best, here);
  }
  return sum + best;
}
}  // namespace

double least_lost(Problem& problem, const std::vector<bool>& may_prune, double price) {
  if (!(price > 0) || !std::isfinite(price)) return 0;
  int64_t units = 1;
  for (const Layer& layer : problem.layers) units += layer.ranking.units();
  const double dense_j = problem.joules->total(Counts(may_prune.size(), kDense));
  // Concave in the price: climbs, and halves the stride (of the logarithm) where neither side is higher.
  double best = dual(problem, may_prune, dense_j, price), factor = kFirstFactor;
  for (int64_t step = std::clamp(kUnitsLookedAt / units, kLeastSteps, kMostSteps); step > 0; --step) {
    double better = best, at = price;
    for (const double side : {price * factor, price / factor}) {
      const double here = dual(problem, may_prune, dense_j, side);
      if (here > better) {
        better = here;
        at = side;
      }
    }
    if (at == price) factor = std::sqrt(factor);
    best = better;
    price = at;
  }
  return std::max(0.0, best);
}

}  // namespace jouleprune::select
