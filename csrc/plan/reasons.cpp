#include "plan/reasons.h"

#include <algorithm>

#include "plan/words.h"

namespace jouleprune::plan {
namespace {
using select::Pattern;

double break_even(const PrunableLayer& layer) {
  const select::KeptSizes most(layer.units);
  return static_cast<double>(most.at(layer.last_winning + 1, select::Measure::kWeights)) /
         static_cast<double>(layer.units.weights());
}

std::string unit_name(const Pattern& pattern) { return pattern.kind == Pattern::Kind::kBlock ? "block" : "weight"; }

/// " in blocks of 16x1", " in 2:4", or nothing.
std::string in_pattern(const Pattern& pattern) {
  if (pattern.kind == Pattern::Kind::kUnstructured) return "";
  return (pattern.kind == Pattern::Kind::kBlock ? " in blocks of " : " in ") + pattern.text();
}

/// "csr, bsr" of all patterns of the weight, each once.
std::string kernels_of(const Network& network, size_t first, size_t last) {
  std::vector<std::string> names;
  for (size_t i = first; i < last; ++i) {
    for (const Form& form : network.layers()[i].forms) {
      if (std::find(names.begin(), names.end(), form.kernel) == names.end()) names.push_back(form.kernel);
    }
  }
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// Why nothing is removed where no sparse kernel runs the weight in the pattern that was asked for.
std::string no_kernel(const Network& network, const PrunableLayer& layer) {
  const Entry& entry = network.request().workload.entries[layer.entries.front()];
  const std::string& pattern = network.request().pattern;
  const std::string asked = pattern == "auto" || pattern == "unstructured" ? "" : " pruned in " + pattern;
  return "dense: no sparse kernel runs " + entry.op + " in " + entry.dtype + asked;
}
}  // namespace

std::string pruned_reason(const Network& network, size_t index, int64_t kept, double energy_j, std::optional<double> next_j,
                          bool waits) {
  const PrunableLayer& layer = network.layers()[index];
  const Pattern& pattern = layer.units.pattern();
  std::string text = "kept " + count_text(kept) + " of " + count_text(layer.count());
  if (pattern.kind != Pattern::Kind::kUnstructured) text += in_pattern(pattern);
  if (waits) return text + " for now: runs dense until its density is below " + share_text(break_even(layer));
  const Currency currency = network.currency();
  text += ": " + amount_text(currency, energy_j) + " instead of " + amount_text(currency, layer.dense_j);
  if (next_j) text += "; the next " + unit_name(pattern) + " would add " + amount_text(currency, *next_j);
  return text;
}

std::string dense_reason(const Network& network, size_t group, bool allowed) {
  const auto [first, last] = network.layers_of(group);
  const std::vector<PrunableLayer>& layers = network.layers();
  const PrunableLayer& layer = layers[first];
  const std::string device = network.pricer().device();
  if (layer.units.weights() == 0) return "dense: the weight is empty";
  std::string start = "dense: ";
  if (layer.whole.dtype != layer.dtype) {
    start = layer.whole.dtype + ", nothing removed: " + amount_text(network.currency(), layer.whole_j) + " instead of " +
            amount_text(network.currency(), layer.dense_j) + " in " + layer.dtype + "; ";
  }
  const std::string kernels = kernels_of(network, first, last);
  if (kernels.empty()) return no_kernel(network, layer);
  // Of the patterns the one that comes furthest.
  const PrunableLayer* best = nullptr;
  double furthest = 0;
  for (size_t i = first; i < last; ++i) {
    if (!layers[i].can_win()) continue;
    const double here = break_even(layers[i]);
    if (best == nullptr || here > furthest) {
      best = &layers[i];
      furthest = here;
    }
  }
  if (best == nullptr) {
    const int64_t least = layer.floor;
    if (least >= layer.count()) return start + "min_density keeps all " + count_text(layer.count()) + " weights";
    const double share = static_cast<double>(least) / static_cast<double>(layer.count());
    const std::string nothing = network.currency() == Currency::kJoules
                                    ? kernels + " saves nothing on " + device
                                    : "no " + std::string(unit_of(network.currency())) + " are saved";
    return start + "even at a density of " + share_text(share) + " " + nothing;
  }
  if (!allowed) return start + "an earlier step of the schedule left it dense";
  if (network.pricer().zeros_save() || network.currency() != Currency::kJoules) return start + "the budget is met without removing any of its weights";
  return start + kernels + in_pattern(best->units.pattern()) + " would need a density below " + share_text(furthest) +
         " to win on " + device;
}

std::string too_small(const Network& network, double budget_j, double minimum_j) {
  if (network.currency() != Currency::kJoules) {
    const std::string of = " " + std::string(unit_of(network.currency()));
    return "budget: " + number_text(budget_j) + of + " is below the least that pruning can reach: the minimum is " +
           number_text(minimum_j) + of + " of " + number_text(network.dense_j()) +
           "; raise the budget to at least the minimum, or allow more to be pruned (min_density, ignored_layers)";
  }
  return "budget: " + number_text(budget_j) + " J (" + joules_text(budget_j) +
         ") is below the least that pruning can reach on " + network.pricer().device() + ": the minimum is " +
         number_text(minimum_j) + " J (" + joules_text(minimum_j) + ") of " + joules_text(network.dense_j()) +
         " dense; raise the budget to at least the minimum, or allow more to be pruned (min_density, ignored_layers)";
}

}  // namespace jouleprune::plan
