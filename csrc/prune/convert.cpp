// convert(): swaps pruned dense layers for sparse ones where that wins. Everything is decided and priced before anything changes.
#include <jouleprune/prune.h>
#include <jouleprune/value_errors.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "prune/alternatives.h"
#include "prune/candidates.h"
#include "prune/fuse.h"
#include "prune/int8.h"
#include "prune/planned.h"
#include "prune/races.h"
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

void check_options(const ConvertOptions& options) {
  TORCH_CHECK_VALUE(options.dtype.empty() || options.dtype == "int8", "convert: dtype: expected \"\" or \"int8\", got \"", options.dtype,
                    "\"");
  TORCH_CHECK_VALUE(!options.calibration || !options.dtype.empty(), "convert: calibration: only with dtype = \"int8\"");
  TORCH_CHECK_VALUE(options.dtype.empty() || (!options.plan.has_value() && !options.profile.has_value()),
                    "convert: dtype: \"int8\" is decided by the clock alone: leave out plan and profile (the weights hold the zeros)");
}

/// Replaces what the decisions say, unit by unit.
void replace_layers(const std::vector<Candidate>& candidates, std::map<std::string, Int8Layer>& int8) {
  std::map<std::string, std::vector<const Candidate*>> units;
  for (const auto& candidate : candidates) {
    if (const auto twin = int8.find(candidate.weight); twin != int8.end() && twin->second.wanted) {
      run_as(candidate.unit.place, twin->second.twin);
    } else if (candidate.decision.layout == "bsr") {
      run_as(candidate.unit.place, block_twin(candidate));
    } else if (candidate.decision.layout == "csr") {
      units[candidate.unit.place.path].push_back(&candidate);
    }
  }
  for (const auto& [path, members] : units) {
    nn::Masks masks;
    std::set<std::string> sparse;
    for (const Candidate* member : members) {
      sparse.insert(member->unit.weight);
      if (member->mask.has_value()) masks.emplace(member->unit.weight, *member->mask);
    }
    run_sparse(members.front()->unit.place, masks, sparse);
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
  check_options(options);
  const auto profile = profile_for(options);
  auto candidates = options.plan.has_value() ? planned_candidates(module, *options.plan) : std::vector<Candidate>{};
  const auto workload = record_module("convert", module, as_planned(forward, options.plan), 1.0);
  if (!options.plan.has_value()) {
    candidates = with_value_errors([&] { return candidates_with_zeros(module, workload, profile); });
  }
  locate(module, options.replace_in_lists, candidates);
  auto int8 = options.dtype.empty() ? std::map<std::string, Int8Layer>{} : int8_layers(module, candidates, workload, forward, options);
  const auto takes_int8 = [&](const Candidate& candidate) {
    const auto found = int8.find(candidate.weight);
    return found != int8.end() && found->second.wanted;
  };
  std::vector<Candidate> open;
  std::copy_if(candidates.begin(), candidates.end(), std::back_inserter(open), [&](const Candidate& candidate) {
    return candidate.obstacle.empty() && candidate.open && !options.force && !takes_int8(candidate);
  });
  const auto races = open.empty() ? std::map<std::string, Race>{} : run_races(module, open, workload, forward, options.timer);
  std::vector<Decision> decisions;
  for (auto& candidate : candidates) {
    decide(candidate, options.force, races);
    if (const auto layer = int8.find(candidate.weight); layer != int8.end()) tell(layer->second, candidate.decision);
    decisions.push_back(candidate.decision);
  }
  if (!options.force) with_value_errors([&] { add_alternatives(workload, candidates, profile, decisions); });
  if (options.plan.has_value() && profile.has_value() && !options.allow_over_budget) {
    with_value_errors([&] { check_budget(workload, candidates, decisions, *options.plan, *profile); });
  }
  const auto fusable = options.fuse ? batched_layers(module, forward, candidates) : std::set<std::string>{};
  replace_layers(candidates, int8);
  for (const auto& [layer, told] : options.fuse ? fuse(module, fusable) : std::map<std::string, std::string>{}) {
    for (auto& decision : decisions) {
      if (decision.name == layer) decision.reason += told;
    }
  }
  leave_decisions(module, decisions);
  return decisions;
}

}  // namespace jouleprune
