// Pruning in rounds: iterative() (prune, train, repeat) and prune_to_floor() (as far as a metric allows).
#pragma once
#include <jouleprune/prune.h>

#include <functional>
#include <optional>
#include <utility>
#include <vector>

namespace jouleprune {

/// Zeroes pruned weights again.
using Keep = std::function<void()>;
/// Trains the module; calls `keep` after each optimizer.step().
using Train = std::function<void(const Keep& keep)>;
/// The metric of the module as it is; higher is better.
using Evaluate = std::function<double()>;

/// What one round came to; `share` of the removal is done, `metric` is empty without `evaluate`.
struct Round {
  double share = 0, energy_j = 0;
  std::optional<double> metric;
};

struct IterativeOptions {
  Train train{};                          ///< required
  int64_t rounds = 5;                     ///< round i of n does the share (i + 1) / n of the removal, unless
  std::optional<Schedule> schedule{};     ///< says otherwise; its steps are then the rounds
  Evaluate evaluate{};                    ///< the metric of each round
  std::function<bool(const Round&)> stop{};  ///< called after each round; true ends the loop there, short of the budget
};

/// Prunes `module` in place in rounds, all layers together, with training after each. Gives the pruner, which holds the masks, and the
/// rounds; unless `stop` ended it, energy_j() <= budget_j(). `options`: of the Pruner, with its schedule left as it is. Throws
/// c10::ValueError: no `train`, rounds below 1 or below the schedule's end, a schedule in `options`; others as Pruner.
std::pair<Pruner, std::vector<Round>> iterative(torch::nn::Module& module, const Forward& forward, const PrunerOptions& options,
                                                const IterativeOptions& how);

struct FloorOptions {
  Evaluate evaluate{};      ///< required; its value for the module as it comes is what the drop refers to
  double max_drop = 0.05;   ///< in the metric's own unit: 0.05 is five points of an accuracy in [0, 1]
  Train train{};            ///< runs in each trial after pruning
  double tolerance = 0.01;  ///< bisection ends when the budgets differ by this share of the dense energy
};

/// Where prune_to_floor() ended. `pruner` holds the masks and is empty where nothing could be pruned; `metric` is that of the module as it
/// is left, `trials` are (joules asked for, metric) in their order.
struct FloorResult {
  std::optional<Pruner> pruner;
  std::optional<MaskedPlan> plan;
  double dense_metric = 0, metric = 0, energy_j = 0, dense_j = 0;
  std::vector<std::pair<double, double>> trials;
};

/// Prunes `module` in place to the least joules at which the metric drops by at most `max_drop`: bisects the budget between the least that
/// can be reached and the dense energy. Every trial starts from the weights that the module came with, and what does not hold is rolled
/// back. A metric that is not monotonic in the budget may hold further down, too: the result is the least budget that was tried and held.
/// `options`: of the Pruner, without energy and schedule. Throws c10::ValueError: no `evaluate`, numbers out of range, a metric that is
/// not finite; others as Pruner. The module is as it came then.
FloorResult prune_to_floor(torch::nn::Module& module, const Forward& forward, const PrunerOptions& options, const FloorOptions& how);

}  // namespace jouleprune
