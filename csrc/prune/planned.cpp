#include "prune/planned.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones_like.h>
#include <jouleprune/ops.h>
#include <jouleprune/value_errors.h>

#include <algorithm>
#include <sstream>
#include <tuple>
#include <utility>

#include "plan/pricer.h"
#include "prune/races.h"
#include "select/pattern.h"

namespace jouleprune::prune {
namespace {

void check_zeros(const Candidate& candidate) {
  const at::NoGradGuard no_grad;
  const auto revived = candidate.parameter.detach().ne(0).logical_and(candidate.mask->logical_not()).sum().item<int64_t>();
  TORCH_CHECK_VALUE(revived == 0, "convert: module: ", revived, " weights of '", candidate.weight,
                    "' are not zero where the plan removed them: call pruner.step() after the last optimizer.step(), or "
                    "pruner.prune_now()");
}

/// What is the same for inputs of any size.
auto call_of(const Entry& entry) { return std::tie(entry.op, entry.name, entry.rows, entry.cols, entry.groups, entry.dtype); }

/// The recorded calls as the decisions run them.
Workload decided(Workload workload, const std::vector<Candidate>& candidates, const MaskedPlan& plan) {
  for (auto& entry : workload.entries) {
    for (const auto& candidate : candidates) {
      if (entry.weight != candidate.weight || candidate.decision.layout == "dense") continue;
      if (candidate.decision.layout == "csr") {
        entry = as_csr(entry, kept_in(entry, candidate));
        continue;
      }
      const auto& planned = plan.workload.entries;
      const auto it = std::find_if(planned.begin(), planned.end(), [&](const Entry& each) { return each.weight == entry.weight; });
      TORCH_CHECK_VALUE(it != planned.end(), "convert: plan: its workload lacks a call of '", entry.weight, "'");
      entry.pattern = it->pattern, entry.layout = it->layout, entry.kernel = it->kernel;
      entry.dtype = it->dtype, entry.nnz = it->nnz;
    }
  }
  return workload;
}

/// The same on inputs of the sizes that the budget was made for: joules of another batch are not comparable with it. Activation
/// densities are frozen in the plan.
Workload as_planned(Workload workload, const MaskedPlan& plan) {
  const auto& planned = plan.workload.entries;
  auto& entries = workload.entries;
  const bool same_calls = std::equal(entries.begin(), entries.end(), planned.begin(), planned.end(),
                                     [](const Entry& a, const Entry& b) { return call_of(a) == call_of(b); });
  if (same_calls) {
    for (size_t i = 0; i < entries.size(); ++i) {
      Entry merged = planned[i];
      merged.weight = entries[i].weight, merged.pattern = entries[i].pattern, merged.layout = entries[i].layout;
      merged.kernel = entries[i].kernel, merged.nnz = entries[i].nnz;
      entries[i] = std::move(merged);
    }
    return workload;
  }
  for (auto& entry : entries) {
    for (const auto& each : planned) {
      if (each.name == entry.name && !each.weight.empty()) entry.input_density = each.input_density;
    }
  }
  return workload;
}

}  // namespace

std::vector<Candidate> planned_candidates(torch::nn::Module& module, const MaskedPlan& plan) {
  const auto parameters = module.named_parameters();
  std::vector<Candidate> candidates;
  for (const auto& layer : plan.layers) {
    const auto* parameter = parameters.find(layer.weight);
    TORCH_CHECK_VALUE(parameter != nullptr, "convert: plan: names the weight '", layer.weight, "', which the module lacks");
    Candidate candidate;
    candidate.weight = layer.weight;
    candidate.parameter = *parameter;
    if (const auto bits = plan.masks.find(layer.weight); bits != plan.masks.end()) {
      TORCH_CHECK_VALUE(bits->second.numel() == (parameter->numel() + 7) / 8, "convert: plan: mask of '", layer.weight,
                        "': expected ", (parameter->numel() + 7) / 8, " bytes, got ", bits->second.numel());
      candidate.mask = unpack_mask(bits->second.to(parameter->device()), parameter->sizes()).to(at::kBool);
      check_zeros(candidate);
    }
    const bool whole = layer.pattern == "dense" && layer.layout == "dense";
    if (whole || layer.layout == "bitmap") {  // pruned to be stored smaller: runs dense
      continue;
    }
    candidate.decision.name = layer.name;
    candidate.pattern = layer.pattern;
    candidate.wanted = layer.layout != "dense" && layer.layout != "compressed";
    candidate.open = !candidate.wanted;
    if (candidate.wanted) {
      candidate.layout = layer.layout;
      candidate.kernel = layer.kernel;
    }
    candidate.decision.reason = layer.reason;
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

Twin block_twin(const Candidate& candidate) {
  const auto view = view_layer(candidate.unit);
  nn::PackOptions options{.mask = candidate.mask};
  if (candidate.pattern == "dense") {  // all weights are kept, in another number type
    options.mask = at::ones_like(view.weight, at::TensorOptions().dtype(at::kBool).requires_grad(false));
  }
  if (candidate.kernel == plan::kInt8Kernel) {
    options.dtype = "int8";
  } else {
    const auto pattern = with_value_errors([&] { return jouleprune::select::Pattern::parse(candidate.pattern); });
    options.layout = candidate.layout;
    options.block_size = nn::BlockSize{pattern.r, pattern.c};
  }
  return pack(view, options);
}

void check_budget(const Workload& workload, const std::vector<Candidate>& candidates, const std::vector<Decision>& decisions,
                  const MaskedPlan& plan, const Profile& profile) {
  if (plan.prune_for != "joules") {
    return;  // multiply-adds follow from the masks, and bytes are those of a file that Python writes
  }
  const double energy_j = estimate(as_planned(decided(workload, candidates, plan), plan), profile).total_j();
  if (energy_j <= plan.budget_j) {
    return;
  }
  std::ostringstream what;
  what << "convert: the converted network takes " << energy_j << " J, above the budget of " << plan.budget_j
       << " J: layers could not follow the plan. Set allow_over_budget to keep it, or plan again for this module and these "
          "shapes.\n"
       << lines(decisions);
  throw BudgetError(what.str(), energy_j);
}

}  // namespace jouleprune::prune
