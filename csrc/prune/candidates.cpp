#include "prune/candidates.h"

#include <ATen/core/grad_mode.h>
#include <jouleprune/ops.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <utility>

namespace jouleprune::prune {
namespace {

void check_zeros(const Candidate& candidate) {
  const at::NoGradGuard no_grad;
  const auto revived = candidate.parameter.detach().ne(0).logical_and(candidate.mask->logical_not()).sum().item<int64_t>();
  TORCH_CHECK_VALUE(revived == 0, "convert: module: ", revived, " weights of '", candidate.weight,
                    "' are not zero where the plan removed them: call pruner.step() after the last optimizer.step(), or "
                    "pruner.prune_now()");
}

/// Joules of the recorded calls of each weight: as recorded, and run by csr.
std::map<std::string, std::pair<double, double>> both_joules(const Workload& workload, const Profile& profile) {
  std::map<std::string, std::pair<double, double>> joules;
  Workload one = workload;
  for (const auto& entry : workload.entries) {
    static const std::set<std::string> sparse_ops = {"linear", "conv1d", "conv2d", "lstm", "gru"};
    if (entry.weight.empty() || entry.layout != "dense" || !sparse_ops.contains(entry.op)) {
      continue;
    }
    one.entries = {entry};
    joules[entry.weight].first += estimate(one, profile).total_j();
    one.entries = {as_csr(entry, entry.nnz)};
    joules[entry.weight].second += estimate(one, profile).total_j();
  }
  return joules;
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
    if (layer.pattern == "dense") {
      continue;
    }
    candidate.decision.name = layer.name;
    candidate.wanted = layer.layout != "dense" && layer.layout != "compressed";
    candidate.open = !candidate.wanted;
    candidate.decision.reason = layer.reason;
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

std::vector<Candidate> candidates_with_zeros(torch::nn::Module& module, const Workload& workload,
                                             const std::optional<Profile>& profile) {
  const bool by_joules = profile.has_value() && profile->kind() != "asic";
  const auto joules = by_joules ? both_joules(workload, *profile) : std::map<std::string, std::pair<double, double>>{};
  std::vector<Candidate> candidates;
  for (const auto& parameter : module.named_parameters()) {
    const auto places = places_of(module, parameter.value());
    if (std::none_of(places.begin(), places.end(), holds_weight) || !parameter.value().detach().eq(0).any().item<bool>()) {
      continue;
    }
    Candidate candidate;
    candidate.weight = parameter.key();
    candidate.parameter = parameter.value();
    candidate.decision.name = layer_of(parameter.key());
    candidate.open = !by_joules;
    if (by_joules) {
      const auto it = joules.find(parameter.key());
      if (it == joules.end()) {
        continue;
      }
      std::ostringstream reason;
      reason.precision(3);
      const auto [dense, sparse] = it->second;
      candidate.wanted = sparse < dense;
      reason << (candidate.wanted ? "csr: " : "dense: csr would take ") << sparse << " J instead of " << dense << " J on "
             << profile->name();
      candidate.decision.reason = reason.str();
    }
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

void locate(torch::nn::Module& module, bool replace_in_lists, std::vector<Candidate>& candidates) {
  for (auto& candidate : candidates) {
    candidate.nnz = candidate.mask.has_value() ? candidate.mask->sum().item<int64_t>()
                                               : candidate.parameter.detach().ne(0).sum().item<int64_t>();
    candidate.obstacle = obstacle(module, candidate.parameter, replace_in_lists);
    if (candidate.obstacle.empty()) {
      candidate.unit = unit_of(module, places_of(module, candidate.parameter).front());
    }
  }
}

void decide(Candidate& candidate, bool force, const std::map<std::string, Race>& races) {
  auto& decision = candidate.decision;
  decision.weight = candidate.weight;
  const auto elements = candidate.parameter.numel();
  decision.density = elements == 0 ? 1.0 : static_cast<double>(candidate.nnz) / static_cast<double>(elements);
  if (!candidate.obstacle.empty()) {
    decision.reason = "dense: " + candidate.obstacle;
    return;
  }
  const auto timed = races.find(candidate.weight);
  const bool raced = timed != races.end() && !timed->second.label.empty();
  if (raced) {
    decision.dense_s = timed->second.dense_s;
    decision.sparse_s = timed->second.sparse_s;
  }
  if (!candidate.wanted && !force && !(raced && timed->second.sparse_wins())) {
    if (raced) {
      decision.reason = "dense: " + timed->second.sentence();
    } else if (decision.reason.empty()) {
      decision.reason = "dense: the recorded pass does not run it";
    }
    return;
  }
  decision.layout = decision.kernel = "csr";
  if (!candidate.wanted) {
    decision.reason = raced ? "csr: " + timed->second.sentence() : "csr: forced";
  }
}

std::string lines(const std::vector<Decision>& decisions) {
  size_t width = 0;
  for (const auto& decision : decisions) {
    width = std::max(width, decision.name.size());
  }
  std::ostringstream out;
  out.setf(std::ios::fixed);
  out.precision(3);
  for (size_t i = 0; i < decisions.size(); ++i) {
    const auto& decision = decisions[i];
    const auto gap = [&out](const std::string& text, size_t to) {
      out << text << std::string(to - std::min(to, text.size()), ' ');
    };
    gap(decision.name, width);
    out << "  ";
    gap(decision.layout, 6);
    out << " density " << decision.density << "  " << decision.reason << (i + 1 < decisions.size() ? "\n" : "");
  }
  return out.str();
}

}  // namespace jouleprune::prune
