// convert(): swaps pruned dense layers for sparse ones where that wins. Everything is decided and priced before anything changes.
#include <jouleprune/prune.h>
#include <jouleprune/value_errors.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <map>
#include <sstream>
#include <string_view>

#include "nn/csr_weight.h"
#include "prune/candidates.h"
#include "prune/input_sizes.h"
#include "prune/recording.h"

namespace jouleprune {
namespace prune {
namespace {

std::optional<Profile> profile_for(const ConvertOptions& options) {
  if (!options.plan.has_value()) {
    return options.profile;
  }
  if (options.profile.has_value()) {
    if (options.profile->hash() != options.plan->profile_hash) {
      throw ProfileError("convert: profile: expected '" + options.plan->profile + "' of the plan, got '" +
                         options.profile->name() + "' or another version of it");
    }
    return options.profile;
  }
  const auto names = Profile::names();
  if (std::find(names.begin(), names.end(), options.plan->profile) != names.end()) {
    auto built_in = Profile::load(options.plan->profile);
    if (built_in.hash() == options.plan->profile_hash) {
      return built_in;
    }
  }
  return std::nullopt;  // a profile of the user's own: the plan is replayed without pricing the result again
}

bool tuning_is_off() {
  const char* tune = std::getenv("JOULEPRUNE_TUNE");
  return tune != nullptr && std::string_view(tune) == "off";
}

/// Times the layers that joules have not decided.
std::map<std::string, Race> run_races(torch::nn::Module& module, const std::vector<Candidate>& candidates,
                                      const Workload& workload, const Forward& forward, const Timer& timer) {
  const EvalMode eval_mode(module);
  std::map<std::string, Race> races;
  std::vector<std::pair<std::string, at::Tensor>> convolutions;
  for (const auto& candidate : candidates) {
    if (view_layer(candidate.place).conv.has_value()) {
      convolutions.emplace_back(candidate.weight, candidate.parameter);
    }
  }
  const bool by_cost = tuning_is_off();
  KeptTimes kept;
  const auto sizes = by_cost ? InputSizes{} : conv2d_input_sizes(forward.run, convolutions);
  for (const auto& candidate : candidates) {
    const auto layer = view_layer(candidate.place);
    RaceCase call{layer.weight, candidate.mask, layer.bias, layer.op, {}};
    auto& race_of = races[candidate.weight];
    if (layer.conv.has_value()) {
      call.stride = {(*layer.conv->stride())[0], (*layer.conv->stride())[1]};
      call.dilation = {(*layer.conv->dilation())[0], (*layer.conv->dilation())[1]};
      call.padding = *nn::zero_padding(*layer.conv);
      call.groups = layer.conv->groups();
      if (const auto it = sizes.find(candidate.weight); it != sizes.end()) {
        for (const auto& input : it->second) {
          call.input_sizes = input;
          race_of += race(call, timer, kept.table());
        }
      }
    }
    for (const auto& entry : workload.entries) {
      if (entry.weight == candidate.weight && by_cost) {
        race_of += race_by_cost(entry, candidate.nnz);
      } else if (entry.weight == candidate.weight && layer.op == "linear") {
        call.input_sizes = {entry.n, layer.weight.size(1)};
        race_of += race(call, timer, kept.table());
      }
    }
  }
  kept.save();
  return races;
}

/// The network as the decisions leave it must cost what the plan says; where a layer had to deviate, at most the budget.
void check_budget(Workload workload, const std::vector<Candidate>& candidates, const std::vector<Decision>& decisions,
                  const MaskedPlan& plan, const Profile& profile) {
  for (auto& entry : workload.entries) {
    for (const auto& planned_entry : plan.workload.entries) {  // activation densities are frozen in the plan
      if (planned_entry.name == entry.name && !planned_entry.weight.empty()) {
        entry.input_density = planned_entry.input_density;
      }
    }
    for (const auto& candidate : candidates) {
      if (entry.weight == candidate.weight && candidate.decision.layout == "csr") {
        entry = as_csr(entry, candidate.nnz);
      }
    }
  }
  const double energy_j = estimate(workload, profile).total_j();
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

/// Gives every layer of ours the decisions, after those of earlier conversions of the same module.
void leave_decisions(torch::nn::Module& module, const std::vector<Decision>& made) {
  std::vector<nn::Explained*> carriers;
  std::vector<Decision> all;
  for (const auto& place : modules_of(module)) {
    if (auto* explained = dynamic_cast<nn::Explained*>(place.module)) {
      carriers.push_back(explained);
      if (all.empty() && explained->decisions != nullptr) {
        all = *explained->decisions;
      }
    }
  }
  for (const auto& decision : made) {
    std::erase_if(all, [&](const Decision& before) { return before.weight == decision.weight; });
    all.push_back(decision);
  }
  const auto shared = std::make_shared<const std::vector<Decision>>(std::move(all));
  for (auto* carrier : carriers) {
    carrier->decisions = shared;
  }
}

Forward as_planned(Forward forward, const std::optional<MaskedPlan>& plan) {
  if (plan.has_value()) {
    forward.batch = plan->batch;
    forward.per = plan->per;
    forward.count = plan->count;
  }
  return forward;
}

}  // namespace
}  // namespace prune

std::vector<Decision> convert(torch::nn::Module& module, const Forward& forward, const ConvertOptions& options) {
  using namespace prune;
  const auto profile = profile_for(options);
  auto candidates = options.plan.has_value() ? planned_candidates(module, *options.plan) : std::vector<Candidate>{};
  const auto workload = record_module("convert", module, as_planned(forward, options.plan), 1.0);
  if (!options.plan.has_value()) {
    candidates = with_value_errors([&] { return candidates_with_zeros(module, workload, profile); });
  }
  locate(module, options.replace_in_lists, candidates);
  std::vector<Candidate> open;
  std::copy_if(candidates.begin(), candidates.end(), std::back_inserter(open), [&](const Candidate& candidate) {
    return candidate.obstacle.empty() && candidate.open && !options.force;
  });
  const auto races = open.empty() ? std::map<std::string, Race>{} : run_races(module, open, workload, forward, options.timer);
  std::vector<Decision> decisions;
  for (auto& candidate : candidates) {
    decide(candidate, options.force, races);
    decisions.push_back(candidate.decision);
  }
  if (options.plan.has_value() && profile.has_value() && !options.allow_over_budget) {
    with_value_errors([&] { check_budget(workload, candidates, decisions, *options.plan, *profile); });
  }
  for (const auto& candidate : candidates) {
    if (candidate.decision.layout == "csr") {
      run_sparse(candidate.place, candidate.mask);
    }
  }
  leave_decisions(module, decisions);
  return decisions;
}

}  // namespace jouleprune
