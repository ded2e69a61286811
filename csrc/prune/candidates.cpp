#include "prune/candidates.h"

#include <algorithm>
#include <set>
#include <sstream>
#include <utility>

namespace jouleprune::prune {
namespace {

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
  decision.layout = candidate.layout;
  decision.kernel = candidate.kernel;
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
  for (const auto& decision : decisions) {
    const auto gap = [&out](const std::string& text, size_t to) {
      out << text << std::string(to - std::min(to, text.size()), ' ');
    };
    gap(decision.name, width);
    out << "  ";
    gap(decision.layout, 6);
    out << " density " << decision.density << "  " << decision.reason << '\n';
    std::istringstream ways(decision.candidates);
    for (std::string way; std::getline(ways, way);) out << "    " << way << '\n';
  }
  std::string text = out.str();
  if (!text.empty()) text.pop_back();  // the last line's end
  return text;
}

}  // namespace jouleprune::prune
