#include "plan/planner.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

#include "plan/network.h"
#include "plan/reasons.h"
#include "plan/words.h"
#include "select/bound.h"
#include "select/fill.h"
#include "select/masks.h"
#include "select/search.h"
#include "select/threshold.h"

namespace jouleprune::plan {
namespace {
using select::Counts;
using select::kDense;

/// The request's scores as units of each layer, and what of them the joules and the search need.
struct Ranked {
  std::vector<select::UnitScores> scores;
  std::vector<select::KeptSizes> sizes;
  std::vector<select::Layer> layers;
};

Ranked ranked_layers(const Network& network, std::span<const std::span<const float>> importance, bool relaxed,
                     const select::Together* together) {
  if (importance.size() != network.groups()) {
    throw std::invalid_argument("importance: expected scores of " + std::to_string(network.groups()) + " weights, got " +
                                std::to_string(importance.size()));
  }
  Ranked ranked;
  ranked.scores.reserve(network.layers().size());  // rankings point into it
  for (const PrunableLayer& layer : network.layers()) {
    const std::span<const float> weights = importance[layer.group];
    const auto check = [&](int64_t given) {
      if (given == layer.units.weights()) return;
      throw std::invalid_argument("importance of " + layer.weight + ": expected " + std::to_string(layer.units.weights()) +
                                  " scores, got " + std::to_string(given));
    };
    if (together == nullptr) check(static_cast<int64_t>(weights.size()));
    if (together != nullptr && layer.units.pattern().kind != select::Pattern::Kind::kUnstructured) {
      throw std::invalid_argument("together: expected pattern unstructured, got " + layer.units.pattern().text() + " of " + layer.weight);
    }
    const select::UnitScores& units = ranked.scores.emplace_back(layer.units.scores(weights, layer.weight));
    ranked.sizes.emplace_back(layer.units, units.scores);
    ranked.layers.push_back({select::Ranking(units.scores, layer.weight, together), relaxed ? layer.relaxed : layer.hull, layer.floor,
                             layer.group, units.forced});
    if (together != nullptr) check(ranked.layers.back().ranking.units());  // single weights: those of all processes
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
  plan.prune_for = request.prune_for;
  plan.dense_j = network.dense_energy_j();
  if (network.currency() == Currency::kJoules) {
    plan.minimum_j = network.minimum_j(nullptr);
  } else {
    plan.amounts = Amounts{0, 0, network.dense_j(), network.minimum_j(nullptr), 0};
  }
  plan.tuning = network.tuning();
  plan.measured = request.measured;
  plan.workload = request.workload;
  return plan;
}

/// Whether a layer is too dense for its sparse kernel on the way of a schedule: it then runs dense, masked.
bool waits(const Network& network, const Choice& choice, size_t layer, bool relaxed) {
  return relaxed && !(choice.joules < network.layers()[layer].whole_j);
}

/// The line of a layer that is pruned.
LayerPlan pruned_line(const Network& network, NetworkJoules& joules, size_t index, int64_t kept, bool relaxed,
                      Choice& choice) {
  const PrunableLayer& layer = network.layers()[index];
  choice = joules.choice(index, kept);
  const bool waiting = waits(network, choice, index, relaxed);
  const int64_t weights = joules.sizes(index).at(kept, select::Measure::kWeights);
  LayerPlan line;
  line.pattern = layer.units.pattern().text();
  line.units = layer.count();
  line.kept = kept;
  line.density = static_cast<double>(weights) / static_cast<double>(layer.units.weights());
  std::optional<double> next_j;
  if (kept < layer.count()) next_j = std::min(joules.pruned(index, kept + 1), layer.whole_j) - choice.joules;
  if (waiting) {
    choice = network.whole(index);
    if (choice.form.layout == "dense") choice.nnz = weights;  // dense, with zeros in it
  }
  line.reason = pruned_reason(network, index, kept, choice.joules, next_j, waiting && !network.pricer().zeros_save());
  return line;
}

/// A weight's line of the plan, and its entries in the plan's workload. Returns the bytes that it is stored in.
double write_layer(const Network& network, NetworkJoules& joules, size_t group, const Counts& counts, bool allowed,
                   bool relaxed, Plan& plan) {
  const size_t pruned = pruned_of(network, group, counts);
  const size_t index = pruned == kNone ? network.layers_of(group).first : pruned;
  const PrunableLayer& layer = network.layers()[index];
  LayerPlan line;
  Choice choice;
  Held held = whole_of(layer.matrix, layer.units.weights());
  if (pruned != kNone) {
    held = held_by(joules.sizes(index), counts[index]);
    line = pruned_line(network, joules, index, counts[index], relaxed, choice);
  } else {
    choice = network.whole(index);
    line.units = line.kept = layer.units.weights();
    line.reason = dense_reason(network, group, allowed);
  }
  line.name = layer.name;
  line.weight = layer.weight;
  line.dense_j = network.dense_energy_j(index);
  line.min_density = layer.min_density;
  line.dtype = choice.form.dtype;
  line.kernel = choice.form.kernel;
  line.layout = choice.form.layout;
  line.energy_j = network.energy_j(index, choice, line.pattern);
  for (const size_t position : layer.entries) {
    Entry& entry = plan.workload.entries[position];
    entry = configured(std::move(entry), choice.form, choice.nnz, line.pattern);
  }
  plan.decided.push_back(pruned != kNone);
  plan.layers.push_back(std::move(line));
  return network.bytes_of(index, choice, held);
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
  double bytes = 0;
  for (size_t group = 0; group < network.groups(); ++group) {
    bytes += write_layer(network, joules, group, counts, allowed == nullptr || (*allowed)[group], relaxed, plan);
  }
  const std::optional<int64_t>& others = network.request().other_bytes;
  if (others) plan.stored_bytes = bytes + static_cast<double>(*others);
  plan.energy_j = priced(network, plan.workload);
  if (plan.amounts) {
    plan.amounts->used = joules.total(counts);
    plan.budget_j = plan.minimum_j = plan.energy_j;
  }
  set_budget(plan, budget_j, number_text(budget_j));
  return plan;
}

void check_frozen(const Network& network, const std::vector<bool>& frozen) {
  if (frozen.size() == network.groups()) return;
  throw std::invalid_argument("frozen: expected one flag for each of " + std::to_string(network.groups()) +
                              " weights, got " + std::to_string(frozen.size()));
}

/// Joules that one more unit of a pruned layer adds.
double one_more_j(const Network& network, NetworkJoules& joules, size_t index, int64_t kept) {
  const std::string pattern = network.layers()[index].units.pattern().text();
  const double now = network.energy_j(index, Choice(joules.choice(index, kept)), pattern);
  return network.energy_j(index, Choice(joules.choice(index, kept + 1)), pattern) - now;
}

Result result_of(const Network& network, NetworkJoules& joules, select::Problem& problem,
                 std::span<const std::span<const float>> importance, const Counts& counts, const std::vector<bool>* allowed,
                 bool relaxed, double budget_j) {
  Result result;
  result.plan = finished_plan(network, joules, counts, allowed, relaxed, budget_j);
  for (size_t group = 0; group < network.groups(); ++group) {
    const size_t i = pruned_of(network, group, counts);
    MaskBits& mask = result.masks.emplace_back();
    if (i == kNone) continue;
    select::Layer& layer = problem.layers[i];
    mask = network.layers()[i].units.mask(select::mask_bits(layer.ranking, counts[i]), importance[group]);
    result.plan.layers[group].importance_lost = layer.forced + layer.ranking.lost(counts[i]);
  }
  const size_t next = select::best_removed(problem, counts);
  if (next < counts.size()) {
    const PrunableLayer& layer = network.layers()[next];
    const int64_t unit = select::index_at(problem.layers[next].ranking, counts[next] + 1);
    const double cost = select::joules_of_one_more(problem, counts, next);
    result.plan.next_unit = NextUnit{layer.weight, layer.units.index(unit, importance[layer.group]), cost};
    if (result.plan.amounts) {
      result.plan.amounts->next = cost;
      result.plan.next_unit->energy_j = one_more_j(network, joules, next, counts[next]);
    }
  }
  return result;
}

/// The bound of the dual, looked for around the price at which the relaxed choice meets the budget.
double least_lost(select::Problem& problem, const std::vector<bool>& may_prune) {
  std::vector<select::Slot> slots;
  for (size_t i = 0; i < may_prune.size(); ++i) {
    slots.push_back({may_prune[i], may_prune[i] ? problem.layers[i].floor : kDense});
  }
  return select::least_lost(problem, may_prune, select::price_at_budget(problem, slots));
}

/// Bounds for plans that are made before any importance is known.
std::vector<select::KeptSizes> unranked_sizes(const Network& network) {
  std::vector<select::KeptSizes> sizes;
  for (const PrunableLayer& layer : network.layers()) sizes.emplace_back(layer.units);
  return sizes;
}

/// Of each weight that `frozen` marks the pattern that costs least at its floor: a step of a schedule follows one.
std::vector<select::Slot> relaxed_slots(const Network& network, NetworkJoules& joules, const std::vector<bool>& frozen) {
  std::vector<select::Slot> slots(network.layers().size(), {false, kDense});
  for (size_t group = 0; group < frozen.size(); ++group) {
    const auto [first, last] = network.layers_of(group);
    size_t best = kNone;
    for (size_t i = first; i < last; ++i) {
      const PrunableLayer& layer = network.layers()[i];
      if (!frozen[group] || !layer.can_win()) continue;
      if (best == kNone || joules.pruned(i, layer.floor) < joules.pruned(best, network.layers()[best].floor)) best = i;
    }
    if (best != kNone) slots[best] = {true, network.layers()[best].floor};
  }
  return slots;
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

double Planner::dense() const { return impl_->network.dense_j(); }

double Planner::dense_j() const { return impl_->network.dense_energy_j(); }

double Planner::minimum_j() const { return impl_->network.minimum_j(nullptr); }

const Request& Planner::request() const { return impl_->network.request(); }

Plan Planner::dense_plan() const {
  const Network& network = impl_->network;
  NetworkJoules joules(network, unranked_sizes(network));
  Plan plan =
      finished_plan(network, joules, Counts(network.layers().size(), kDense), nullptr, false, network.dense_j());
  plan.maximal = true;  // nothing is removed
  return plan;
}

void Planner::check_budget(double budget, const std::vector<bool>* frozen) const {
  const Network& network = impl_->network;
  if (frozen != nullptr) check_frozen(network, *frozen);
  const Currency currency = network.currency();
  if (currency != Currency::kJoules && !(budget > 0 && std::isfinite(budget))) {
    throw core::BudgetError("budget: expected a positive number of " + std::string(unit_of(currency)) + ", got " + number_text(budget),
                            std::numeric_limits<double>::quiet_NaN());
  }
  Budget::joules(budget).resolve(network.dense_j(), unit_of(currency));
  const double minimum_j = network.minimum_j(frozen);
  if (budget < minimum_j) throw core::BudgetError(too_small(network, budget, minimum_j), minimum_j);
}

Result Planner::select(std::span<const std::span<const float>> importance, double budget,
                       const std::vector<bool>* frozen, const select::Together* together) const {
  const Network& network = impl_->network;
  check_budget(budget, frozen);
  Ranked ranked = ranked_layers(network, importance, false, together);
  NetworkJoules joules(network, std::move(ranked.sizes));
  select::Problem problem{std::move(ranked.layers), &joules, budget};
  std::vector<bool> may_prune(network.layers().size());
  for (size_t i = 0; i < may_prune.size(); ++i) {
    const PrunableLayer& layer = network.layers()[i];
    may_prune[i] = layer.can_win() && (frozen == nullptr || (*frozen)[layer.group]);
  }
  const auto chosen = select::choose(problem, may_prune);
  if (!chosen) throw std::logic_error("select: no counts within the budget, although the minimum is");
  Result result = result_of(network, joules, problem, importance, chosen->counts, frozen, false, budget);
  result.plan.maximal = select::is_maximal(problem, chosen->counts);
  if (select::has_alternatives(problem)) {
    result.plan.duality_gap = std::max(0.0, chosen->lost - least_lost(problem, may_prune));
  }
  return result;
}

Result Planner::select_relaxed(std::span<const std::span<const float>> importance, double target,
                               const std::vector<bool>& frozen, const select::Together* together) const {
  const Network& network = impl_->network;
  check_frozen(network, frozen);
  if (!std::isfinite(target)) Budget::joules(target);
  const double minimum_j = network.minimum_j(&frozen);
  if (target < minimum_j) throw core::BudgetError(too_small(network, target, minimum_j), minimum_j);

  // Where zeros save by themselves every step can meet its target in true joules.
  const bool hull = !network.pricer().zeros_save() && network.currency() == Currency::kJoules;
  RelaxedJoules relaxed(network);
  Ranked ranked = ranked_layers(network, importance, hull, together);
  NetworkJoules joules(network, std::move(ranked.sizes));
  select::Joules& compared = hull ? static_cast<select::Joules&>(relaxed) : joules;
  select::Problem problem{std::move(ranked.layers), &compared, target};
  const std::vector<select::Slot> slots = relaxed_slots(network, joules, frozen);
  Counts least;
  for (const select::Slot& slot : slots) least.push_back(slot.least);
  // The hull meets the minimum only up to rounding: at the minimum every layer is at its floor.
  const auto chosen = target >= network.dense_j()
                          ? std::optional(select::Selection{Counts(slots.size(), kDense), 0, 0, 0})
                          : select::select_at_budget(problem, slots);
  return result_of(network, joules, problem, importance, chosen ? chosen->counts : least, &frozen, hull, target);
}

}  // namespace jouleprune::plan
