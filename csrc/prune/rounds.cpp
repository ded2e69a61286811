#include <jouleprune/rounds.h>

#include <cmath>

#include "prune/module_copy.h"
#include "prune/notes.h"
#include "prune/schedule.h"

namespace jouleprune {
namespace {

/// What the loop decides itself, options leave as it is.
void check_schedule_left_out(const std::string& where, const Schedule& schedule) {
  const auto* constant = std::get_if<Constant>(&schedule);
  TORCH_CHECK_VALUE(constant != nullptr && constant->begin_step == 0, where, ": schedule: it is decided here: leave it out of the Pruner's options, got ",
                    prune::describe(schedule));
}

void check_iterative(const PrunerOptions& options, const IterativeOptions& how) {
  check_schedule_left_out("iterative", options.schedule);
  TORCH_CHECK_VALUE(how.train, "iterative: train: expected a callable (keep), got none");
  TORCH_CHECK_VALUE(how.rounds >= 1, "iterative: rounds: expected a whole number of at least 1, got ", how.rounds);
  if (!how.schedule.has_value()) return;
  prune::check_schedule(*how.schedule);
  TORCH_CHECK_VALUE(prune::is_final(*how.schedule, how.rounds - 1), "iterative: rounds: expected enough for the schedule to end, got ", how.rounds);
}

double finite(double metric) {
  TORCH_CHECK_VALUE(std::isfinite(metric), "prune_to_floor: evaluate: expected a finite metric, got ", metric);
  return metric;
}

void check_floor(const PrunerOptions& options, const FloorOptions& how) {
  check_schedule_left_out("prune_to_floor", options.schedule);
  TORCH_CHECK_VALUE(!options.energy.has_value(), "prune_to_floor: energy: it is decided here: leave it out, got ", options.energy->to_string());
  TORCH_CHECK_VALUE(options.prune_for == "joules", "prune_to_floor: prune_for: expected \"joules\", which are searched for, got \"", options.prune_for, "\"");
  TORCH_CHECK_VALUE(how.evaluate, "prune_to_floor: evaluate: expected a callable that gives the metric, got none");
  TORCH_CHECK_VALUE(how.max_drop >= 0 && std::isfinite(how.max_drop), "prune_to_floor: max_drop: expected a finite number of at least 0, got ", how.max_drop);
  TORCH_CHECK_VALUE(how.tolerance > 0 && std::isfinite(how.tolerance), "prune_to_floor: tolerance: expected a finite number above 0, got ", how.tolerance);
}

/// The bisection: what held last, and where it stands.
struct FloorSearch {
  torch::nn::Module& module;
  const Forward& forward;
  PrunerOptions options;
  const FloorOptions& how;
  FloorResult result = {};

  struct Held {
    c10::IValue state;
    std::map<std::string, at::Tensor> weights;
  };
  std::optional<Held> held = {};

  /// Prunes to the budget, trains, evaluates, and rolls back. Whether it held.
  bool holds(double budget_j, const std::map<std::string, at::Tensor>& start) {
    options.energy = Budget::joules(budget_j);
    Pruner pruner(module, forward, options);
    {
      const prune::QuietAboutEmptied quiet;  // whether the metric bears it is what the search is about
      pruner.prune_now();
    }
    if (how.train) {
      how.train([&] { pruner.keep(); });
      pruner.keep();
    }
    const double metric = finite(how.evaluate());
    result.trials.emplace_back(budget_j, metric);
    const bool good = metric >= result.dense_metric - how.max_drop;
    if (good) {
      held = Held{pruner.state_dict(), prune::copy_of(module)};
      result.metric = metric;
    }
    pruner.remove();
    prune::restore(module, start, "prune_to_floor");
    if (good) result.pruner.emplace(std::move(pruner));
    return good;
  }

  /// The least budget first: where even that holds there is nothing to search for.
  void bisect(double low, double high, const std::map<std::string, at::Tensor>& start) {
    for (double asked = low;;) {
      (holds(asked, start) ? high : low) = asked;
      if (high <= low || high - low <= how.tolerance * result.dense_j) return;
      const double next = (low + high) / 2;
      if (next == low || next == high) return;  // neighbouring numbers: there is no budget between
      asked = next;
    }
  }
};

}  // namespace

std::pair<Pruner, std::vector<Round>> iterative(torch::nn::Module& module, const Forward& forward, const PrunerOptions& options,
                                                const IterativeOptions& how) {
  check_iterative(options, how);
  Pruner pruner(module, forward, options);
  std::vector<Round> rounds;
  for (int64_t number = 0; number < how.rounds; ++number) {
    const double share = how.schedule.has_value() ? prune::share_at(*how.schedule, number)
                                                  : static_cast<double>(number + 1) / static_cast<double>(how.rounds);
    if (!how.schedule.has_value() || prune::updates_at(*how.schedule, number)) pruner.prune_to(share);
    how.train([&] { pruner.keep(); });
    pruner.keep();
    rounds.push_back({share, pruner.energy_j(), how.evaluate ? std::make_optional(how.evaluate()) : std::nullopt});
    if (how.stop && how.stop(rounds.back())) break;
  }
  return {std::move(pruner), std::move(rounds)};
}

FloorResult prune_to_floor(torch::nn::Module& module, const Forward& forward, const PrunerOptions& options, const FloorOptions& how) {
  check_floor(options, how);
  const auto start = prune::copy_of(module);
  FloorSearch search{module, forward, options, how};
  try {
    search.result.metric = search.result.dense_metric = finite(how.evaluate());
    search.options.energy = Budget::percent(100);
    const Pruner probe(module, forward, search.options);
    search.result.energy_j = search.result.dense_j = probe.dense_j();
    search.bisect(probe.minimum_j(), probe.dense_j(), start);
  } catch (...) {
    prune::restore(module, start, "prune_to_floor");
    throw;
  }
  FloorResult result = std::move(search.result);
  if (!search.held.has_value()) return result;
  prune::restore(module, search.held->weights, "prune_to_floor");
  result.pruner->load_state_dict(search.held->state, /*restore_rng=*/false);
  result.plan = result.pruner->plan();
  result.energy_j = result.pruner->energy_j();
  return result;
}

}  // namespace jouleprune
