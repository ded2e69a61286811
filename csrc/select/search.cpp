#include "select/search.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "select/exact.h"
#include "select/fill.h"
#include "select/threshold.h"

namespace jouleprune::select {
namespace {
// A trial costs about two passes over the scores: the work of all trials stays near that of the first selection for big
// networks, while small ones can afford to try every layer and every pair.
constexpr int64_t kUnitsTried = 150'000'000;
constexpr int64_t kMostTrials = 400;
constexpr int64_t kLeastTrials = 6;
constexpr size_t kMostPaired = 64;       // layers up to which pairs are formed
constexpr double kHighestPrice = 1e200;  // importance per joule, in place of infinity: sums of promises stay finite

/// Layers to flip between dense and pruned, and by how much that promises to lower the price of the whole.
struct Move {
  double promise = 0;
  size_t first = 0, second = 0;  // equal: one layer alone
};

class Search {
 public:
  Search(Problem& problem, std::vector<bool> could) : problem_(problem), could_(std::move(could)) {
    int64_t units = 1;
    for (const Layer& layer : problem.layers) units += layer.ranking.units();
    trials_ = std::clamp(kUnitsTried / units, kLeastTrials, kMostTrials);
  }

  std::optional<Selection> run() {
    try_set(cheapest_set());
    if (!best_) return std::nullopt;  // pruning every layer to its floor is the least there is
    start_from_price();
    while (trials_ > 0 && improve()) {
    }
    return std::move(best_);
  }

 private:
  /// Selects with this set of layers; true when it is the best so far. Sets already seen cost nothing.
  bool try_set(const std::vector<bool>& prune) {
    if (!seen_.insert(prune).second) return false;
    --trials_;
    std::optional<Selection> found = choose_fixed(problem_, prune);
    if (!found) return false;
    const bool better =
        !best_ || found->lost < best_->lost || (found->lost == best_->lost && found->energy_j < best_->energy_j);
    if (better) best_ = std::move(found);
    return better;
  }

  /// The sets on both sides of the price at which the relaxed choice meets the budget.
  void start_from_price() {
    const std::vector<Slot> slots = open_slots();
    const double price = price_at_budget(problem_, slots);
    for (const double side : {price, std::nextafter(price, 0.0)}) {
      try_set(pruned_set(priced_choice(problem_, slots, side)));
    }
  }

  /// Tries moves from the best selection, the most promising first, until one is better.
  bool improve() {
    const std::vector<bool> now = pruned_set(best_->counts);
    for (const Move& move : moves(now)) {
      if (trials_ <= 0) return false;
      std::vector<bool> next = now;
      flip(next, move.first);
      if (move.second != move.first) flip(next, move.second);
      if (try_set(next)) return true;
    }
    return false;
  }

  /// What pruning the layer costs at a price per joule: what is lost, less what the joules saved are worth.
  double excess(size_t i, bool now, double price) {
    Layer& layer = problem_.layers[i];
    const int64_t kept = now ? best_->counts[i] : kept_at(layer, price, Rounding::kUp);
    const double worth = price * std::max(0.0, problem_.joules->dense(i) - problem_.joules->pruned(i, kept));
    return layer.forced + layer.ranking.lost_about(kept) - worth;
  }

  /// Promise of a flip at the present threshold: the excess of what its group runs now, less that of what it would run.
  std::vector<Move> moves(const std::vector<bool>& now) {
    const double price = std::min(best_->threshold, kHighestPrice);
    std::vector<double> present(problem_.layers.empty() ? 0 : problem_.layers.back().group + 1, 0);  // by group; 0: dense
    for (size_t i = 0; i < now.size(); ++i) {
      if (now[i]) present[problem_.layers[i].group] = excess(i, true, price);
    }
    std::vector<Move> single;
    for (size_t i = 0; i < now.size(); ++i) {
      if (!could_[i]) continue;
      single.push_back({present[problem_.layers[i].group] - (now[i] ? 0 : excess(i, false, price)), i, i});
    }
    std::vector<Move> all = single;
    if (single.size() > kMostPaired) single.clear();
    for (size_t a = 0; a < single.size(); ++a) {
      for (size_t b = a + 1; b < single.size(); ++b) {
        if (problem_.layers[single[a].first].group == problem_.layers[single[b].first].group) continue;
        all.push_back({single[a].promise + single[b].promise, single[a].first, single[b].first});
      }
    }
    std::stable_sort(all.begin(), all.end(), [](const Move& a, const Move& b) { return a.promise > b.promise; });
    return all;
  }

  /// Of each group the layer that costs least at its floor.
  std::vector<bool> cheapest_set() const {
    std::vector<bool> prune = could_;
    for (size_t i = 0, best = 0; i < prune.size(); ++i) {
      if (!could_[i]) continue;
      const auto least = [&](size_t layer) { return problem_.joules->pruned(layer, problem_.layers[layer].floor); };
      const bool rival = prune[best] && best != i && problem_.layers[best].group == problem_.layers[i].group;
      if (!rival || least(i) < least(best)) best = i;
      prune[best] = true;
      exclude_others(problem_, best, prune);
    }
    return prune;
  }

  void flip(std::vector<bool>& prune, size_t layer) const {
    prune[layer] = !prune[layer];
    if (prune[layer]) exclude_others(problem_, layer, prune);
  }

  std::vector<Slot> open_slots() const {
    std::vector<Slot> slots(could_.size());
    for (size_t i = 0; i < slots.size(); ++i) slots[i] = {could_[i], could_[i] ? problem_.layers[i].floor : kDense};
    return slots;
  }

  static std::vector<bool> pruned_set(const Counts& counts) {
    std::vector<bool> prune(counts.size());
    for (size_t i = 0; i < counts.size(); ++i) prune[i] = counts[i] != kDense;
    return prune;
  }

  Problem& problem_;
  std::vector<bool> could_;
  int64_t trials_ = 0;
  std::set<std::vector<bool>> seen_;
  std::optional<Selection> best_;
};
}  // namespace

std::optional<Selection> choose_fixed(Problem& problem, const std::vector<bool>& prune) {
  std::vector<Slot> slots(prune.size());
  for (size_t i = 0; i < slots.size(); ++i) slots[i] = {prune[i], prune[i] ? problem.layers[i].floor : kDense};
  std::optional<Selection> selection = select_at_budget(problem, slots);
  if (selection) fill(problem, *selection);
  return selection;
}

std::optional<Selection> choose_by_flips(Problem& problem, const std::vector<bool>& may_prune) {
  return Search(problem, may_prune).run();
}

std::optional<Selection> choose(Problem& problem, const std::vector<bool>& may_prune) {
  Selection dense{Counts(may_prune.size(), kDense), 0, 0, 0};
  tally(problem, dense);
  if (dense.energy_j <= problem.budget_j) return dense;
  std::vector<bool> could(may_prune.size());
  for (size_t i = 0; i < could.size(); ++i) {
    could[i] = may_prune[i] && settled(problem, i, problem.layers[i].floor) != kDense;
  }
  if (has_alternatives(problem)) {
    if (auto exact = choose_exactly(problem, could)) {
      fill(problem, *exact);
      return exact;
    }
  }
  return choose_by_flips(problem, could);
}

}  // namespace jouleprune::select
