#include "plan/planner.h"

#include <cmath>
#include <stdexcept>
#include <utility>

#include "plan/network.h"
#include "plan/reasons.h"
#include "plan/words.h"
#include "select/fill.h"
#include "select/masks.h"
#include "select/search.h"
#include "select/threshold.h"

namespace jouleprune::plan {
namespace {
using select::Counts;
using select::kDense;

std::vector<select::Layer> ranked_layers(const Network& network, std::span<const std::span<const float>> importance,
                                         bool relaxed) {
  const std::vector<PrunableLayer>& layers = network.layers();
  if (importance.size() != layers.size()) {
    throw std::invalid_argument("importance: expected scores of " + std::to_string(layers.size()) + " weights, got " +
                                std::to_string(importance.size()));
  }
  std::vector<select::Layer> ranked;
  ranked.reserve(layers.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    if (static_cast<int64_t>(importance[i].size()) != layers[i].units) {
      throw std::invalid_argument("importance of " + layers[i].weight + ": expected " +
                                  std::to_string(layers[i].units) + " scores, got " +
                                  std::to_string(importance[i].size()));
    }
    ranked.push_back({select::Ranking(importance[i], layers[i].weight), relaxed ? layers[i].relaxed : layers[i].hull,
                      layers[i].floor});
  }
  return ranked;
}

/// Everything of a plan that does not depend on the selection.
Plan frame(const Network& network) {
  const Request& request = network.request();
  Plan plan;
  plan.profile = network.pricer().device();
  plan.profile_hash = network.pricer().device_hash();
  plan.per = request.workload.per;
  plan.batch = request.workload.batch;
  plan.count = request.workload.count;
  plan.pattern = request.pattern;
  plan.importance = request.importance;
  plan.dense_j = network.dense_j();
  plan.minimum_j = network.minimum_j(nullptr);
  plan.tuning = network.tuning();
  plan.workload = request.workload;
  return plan;
}

/// A layer of the plan, and its entries in the plan's workload.
void write_layer(const Network& network, NetworkJoules& joules, size_t index, int64_t kept, bool allowed, bool relaxed,
                 Plan& plan) {
  const PrunableLayer& layer = network.layers()[index];
  LayerPlan line;
  line.name = layer.name;
  line.weight = layer.weight;
  line.dtype = layer.dtype;
  line.units = line.kept = layer.units;
  line.dense_j = line.energy_j = layer.dense_j;
  line.kernel = layer.dense_kernel;
  line.min_density = layer.min_density;
  const bool pruned = kept != kDense;
  if (pruned) {
    const Choice& choice = joules.choice(index, kept);
    line.pattern = plan.pattern;
    line.kept = kept;
    line.density = static_cast<double>(kept) / static_cast<double>(layer.units);
    // On the way of a schedule a layer may be too dense for its sparse kernel: it then runs dense, masked.
    const bool waits = relaxed && !(choice.joules < layer.dense_j);
    if (!waits) {
      line.energy_j = choice.joules;
      line.kernel = layer.kernels[choice.kernel];
    }
    std::optional<double> next_j;
    if (kept < layer.units) next_j = std::min(joules.pruned(index, kept + 1), layer.dense_j) - choice.joules;
    line.reason = pruned_reason(network, index, kept, line.kernel, line.energy_j, next_j, relaxed);
  } else {
    line.reason = dense_reason(network, index, allowed);
  }
  if (pruned) line.layout = network.pricer().layout(line.kernel);
  for (const size_t position : layer.entries) {
    plan.workload.entries[position] = network.configured(position, line.kernel, line.kept, pruned);
  }
  plan.decided.push_back(pruned);
  plan.layers.push_back(std::move(line));
}

/// The sum that estimate() makes of the plan's workload.
double priced(const Network& network, const Workload& workload) {
  double sum = 0;
  for (const Entry& entry : workload.entries) sum += network.pricer().joules(entry, workload.count);
  return sum;
}

Plan finished_plan(const Network& network, NetworkJoules& joules, const Counts& counts,
                   const std::vector<bool>* allowed, bool relaxed, double budget_j) {
  Plan plan = frame(network);
  for (size_t i = 0; i < counts.size(); ++i) {
    write_layer(network, joules, i, counts[i], allowed == nullptr || (*allowed)[i], relaxed, plan);
  }
  plan.budget_j = budget_j;
  plan.budget = number_text(budget_j);
  plan.energy_j = priced(network, plan.workload);
  plan.slack_j = budget_j - plan.energy_j;
  return plan;
}

void check_frozen(const Network& network, const std::vector<bool>& frozen) {
  if (frozen.size() == network.layers().size()) return;
  throw std::invalid_argument("frozen: expected one flag for each of " + std::to_string(network.layers().size()) +
                              " weights, got " + std::to_string(frozen.size()));
}

Result result_of(const Network& network, NetworkJoules& joules, select::Problem& problem, const Counts& counts,
                 const std::vector<bool>* allowed, bool relaxed, double budget_j) {
  Result result;
  result.plan = finished_plan(network, joules, counts, allowed, relaxed, budget_j);
  for (size_t i = 0; i < counts.size(); ++i) {
    select::Ranking& ranking = problem.layers[i].ranking;
    result.masks.push_back(counts[i] == kDense ? MaskBits{} : select::mask_bits(ranking, counts[i]));
    if (counts[i] != kDense) result.plan.layers[i].importance_lost = ranking.lost(counts[i]);
  }
  const size_t next = select::best_removed(problem, counts);
  if (next < counts.size()) {
    result.plan.next_unit =
        NextUnit{network.layers()[next].weight, select::index_at(problem.layers[next].ranking, counts[next] + 1),
                 select::joules_of_one_more(problem, counts, next)};
  }
  return result;
}
}  // namespace

struct Planner::Impl {
  Network network;
};

Planner::Planner(Request request) {
  std::shared_ptr<const Pricer> pricer = profile_pricer(request.profile);
  impl_ = std::make_shared<const Impl>(Impl{Network(std::move(request), std::move(pricer))});
}

Planner::Planner(Request request, std::shared_ptr<const Pricer> pricer)
    : impl_(std::make_shared<const Impl>(Impl{Network(std::move(request), std::move(pricer))})) {}

double Planner::dense_j() const { return impl_->network.dense_j(); }

double Planner::minimum_j() const { return impl_->network.minimum_j(nullptr); }

const Request& Planner::request() const { return impl_->network.request(); }

Plan Planner::dense_plan() const {
  const Network& network = impl_->network;
  NetworkJoules joules(network);
  Plan plan =
      finished_plan(network, joules, Counts(network.layers().size(), kDense), nullptr, false, network.dense_j());
  plan.maximal = true;  // nothing is removed
  return plan;
}

void Planner::check_budget(double budget_j, const std::vector<bool>* frozen) const {
  const Network& network = impl_->network;
  if (frozen != nullptr) check_frozen(network, *frozen);
  Budget::joules(budget_j).resolve(network.dense_j());
  const double minimum_j = network.minimum_j(frozen);
  if (budget_j < minimum_j) throw core::BudgetError(too_small(network, budget_j, minimum_j), minimum_j);
}

Result Planner::select(std::span<const std::span<const float>> importance, double budget_j,
                       const std::vector<bool>* frozen) const {
  const Network& network = impl_->network;
  check_budget(budget_j, frozen);
  NetworkJoules joules(network);
  select::Problem problem{ranked_layers(network, importance, false), &joules, budget_j};
  std::vector<bool> may_prune(network.layers().size());
  for (size_t i = 0; i < may_prune.size(); ++i) {
    may_prune[i] = network.layers()[i].can_win() && (frozen == nullptr || (*frozen)[i]);
  }
  const auto chosen = select::choose(problem, may_prune);
  if (!chosen) throw std::logic_error("select: no counts within the budget, although the minimum is");
  Result result = result_of(network, joules, problem, chosen->counts, frozen, false, budget_j);
  result.plan.maximal = select::is_maximal(problem, chosen->counts);
  return result;
}

Result Planner::select_relaxed(std::span<const std::span<const float>> importance, double target_j,
                               const std::vector<bool>& frozen) const {
  const Network& network = impl_->network;
  check_frozen(network, frozen);
  if (!std::isfinite(target_j)) Budget::joules(target_j);
  const double minimum_j = network.minimum_j(&frozen);
  if (target_j < minimum_j) throw core::BudgetError(too_small(network, target_j, minimum_j), minimum_j);

  // Where zeros save by themselves every step can meet its target in true joules.
  const bool hull = !network.pricer().zeros_save();
  RelaxedJoules relaxed(network);
  NetworkJoules joules(network);
  select::Joules& compared = hull ? static_cast<select::Joules&>(relaxed) : joules;
  select::Problem problem{ranked_layers(network, importance, hull), &compared, target_j};
  std::vector<select::Slot> slots(frozen.size());
  Counts least(frozen.size(), kDense);
  for (size_t i = 0; i < slots.size(); ++i) {
    const bool open = frozen[i] && network.layers()[i].can_win();
    if (open) least[i] = problem.layers[i].floor;
    slots[i] = {open, least[i]};
  }
  // The hull meets the minimum only up to rounding: at the minimum every layer is at its floor.
  const auto chosen = target_j >= network.dense_j()
                          ? std::optional(select::Selection{Counts(frozen.size(), kDense), 0, 0, 0})
                          : select::select_at_budget(problem, slots);
  return result_of(network, joules, problem, chosen ? chosen->counts : least, &frozen, hull, target_j);
}

}  // namespace jouleprune::plan
