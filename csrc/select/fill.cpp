#include "select/fill.h"

#include <limits>

#include "select/threshold.h"

namespace jouleprune::select {
namespace {
constexpr double kFullEnough = 0.99;  // the promise of the budget: above this share, or maximal

bool removes(const Problem& problem, const Counts& counts, size_t layer) {
  return counts[layer] != kDense && counts[layer] < problem.layers[layer].ranking.units();
}

Counts with_count(const Problem& problem, Counts counts, size_t layer, int64_t kept) {
  counts[layer] = settled(problem, layer, kept);
  return counts;
}

double importance_of_next(Problem& problem, const Counts& counts, size_t layer) {
  return static_cast<double>(score_of(problem.layers[layer].ranking.key_at(counts[layer] + 1)));
}

/// Runs the threshold again over the layers in which one more unit fits. The unit that stops it blocks its layer for
/// good, because the total only grows: so there are at most as many rounds as layers.
void fill_important(Problem& problem, Selection& selection) {
  for (;;) {
    std::vector<Slot> slots(selection.counts.size());
    bool any = false;
    for (size_t i = 0; i < slots.size(); ++i) {
      slots[i].least = selection.counts[i];
      if (!removes(problem, selection.counts, i) || importance_of_next(problem, selection.counts, i) <= 0) continue;
      slots[i].open = one_more_fits(problem, selection.counts, i);
      any = any || slots[i].open;
    }
    if (!any) return;
    const auto more = select_at_budget(problem, slots);
    if (!more || more->counts == selection.counts) return;
    selection.counts = more->counts;
  }
}

void fill_unimportant(Problem& problem, Selection& selection) {
  for (size_t i = 0; i < selection.counts.size(); ++i) {
    if (!removes(problem, selection.counts, i)) continue;
    int64_t fits = selection.counts[i], too_many = problem.layers[i].ranking.units() + 1;
    while (too_many - fits > 1) {
      const int64_t middle = fits + (too_many - fits) / 2;
      const bool fit = problem.joules->total(with_count(problem, selection.counts, i, middle)) <= problem.budget_j;
      (fit ? fits : too_many) = middle;
    }
    if (fits > selection.counts[i]) selection.counts = with_count(problem, selection.counts, i, fits);
  }
}
}  // namespace

bool one_more_fits(Problem& problem, const Counts& counts, size_t layer) {
  return problem.joules->total(with_count(problem, counts, layer, counts[layer] + 1)) <= problem.budget_j;
}

void fill(Problem& problem, Selection& selection) {
  fill_important(problem, selection);
  if (problem.joules->total(selection.counts) < kFullEnough * problem.budget_j) fill_unimportant(problem, selection);
  tally(problem, selection);
}

bool is_maximal(Problem& problem, const Counts& counts) {
  for (size_t i = 0; i < counts.size(); ++i) {
    if (removes(problem, counts, i) && one_more_fits(problem, counts, i)) return false;
  }
  return true;
}

double joules_of_one_more(Problem& problem, const Counts& counts, size_t layer) {
  return problem.joules->total(with_count(problem, counts, layer, counts[layer] + 1)) - problem.joules->total(counts);
}

size_t best_removed(Problem& problem, const Counts& counts) {
  size_t best = counts.size();
  double best_score = -1;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (!removes(problem, counts, i)) continue;
    const double importance = importance_of_next(problem, counts, i);
    const double joules = joules_of_one_more(problem, counts, i);
    double score = 0;
    if (importance > 0) score = joules > 0 ? importance / joules : std::numeric_limits<double>::infinity();
    if (score > best_score) {
      best = i;
      best_score = score;
    }
  }
  return best;
}

}  // namespace jouleprune::select
