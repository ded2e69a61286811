#include "plan/reasons.h"

#include "plan/words.h"

namespace jouleprune::plan {
namespace {
double break_even(const PrunableLayer& layer) {
  return static_cast<double>(layer.last_winning + 1) / static_cast<double>(layer.units);
}
}  // namespace

std::string pruned_reason(const Network& network, size_t index, int64_t kept, const std::string& kernel,
                          double energy_j, std::optional<double> next_j, bool relaxed) {
  const PrunableLayer& layer = network.layers()[index];
  std::string text = "kept " + count_text(kept) + " of " + count_text(layer.units);
  if (relaxed && kernel == layer.dense_kernel && !network.pricer().zeros_save()) {
    return text + " for now: runs dense until its density is below " + share_text(break_even(layer));
  }
  text += ": " + joules_text(energy_j) + " instead of " + joules_text(layer.dense_j);
  if (next_j) text += "; the next weight would add " + joules_text(*next_j);
  return text;
}

std::string dense_reason(const Network& network, size_t index, bool allowed) {
  const PrunableLayer& layer = network.layers()[index];
  const std::string device = network.pricer().device();
  if (layer.units == 0) return "dense: the weight is empty";
  if (layer.kernels.empty()) {
    const Entry& entry = network.request().workload.entries[layer.entries.front()];
    return "dense: no sparse kernel runs " + entry.op + " in " + entry.dtype;
  }
  std::string kernels;
  for (const std::string& kernel : layer.kernels) kernels += (kernels.empty() ? "" : ", ") + kernel;
  if (!layer.can_win()) {
    const double least = static_cast<double>(layer.floor) / static_cast<double>(layer.units);
    if (layer.floor == layer.units) return "dense: min_density keeps all " + count_text(layer.units) + " weights";
    return "dense: even at a density of " + share_text(least) + " " + kernels + " saves nothing on " + device;
  }
  if (!allowed) return "dense: an earlier step of the schedule left it dense";
  if (network.pricer().zeros_save()) return "dense: the budget is met without removing any of its weights";
  return "dense: " + kernels + " would need a density below " + share_text(break_even(layer)) + " to win on " + device;
}

std::string too_small(const Network& network, double budget_j, double minimum_j) {
  return "budget: " + number_text(budget_j) + " J (" + joules_text(budget_j) +
         ") is below the least that pruning can reach on " + network.pricer().device() + ": the minimum is " +
         number_text(minimum_j) + " J (" + joules_text(minimum_j) + ") of " + joules_text(network.dense_j()) +
         " dense; raise the budget to at least the minimum, or allow more to be pruned (min_density, ignored_layers)";
}

}  // namespace jouleprune::plan
