#include "prune/alternatives.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <iterator>

#include "nn/linear_layouts.h"
#include "plan/alternatives.h"
#include "select/pattern.h"

namespace jouleprune::prune {
namespace {

/// Entries that blocks store, of a convolution inputs at one tap.
int64_t stored(const at::Tensor& kept, const nn::BlockSize& size) {
  int64_t blocks = 0;
  for (const auto& tap : kept.dim() > 2 ? kept.flatten(2).unbind(2) : std::vector<at::Tensor>{kept}) {
    blocks += nn::kept_blocks(tap, size).sum().item<int64_t>();
  }
  return std::min(blocks * size[0] * size[1], kept.numel());
}

plan::KeptEntries kept_entries(const Candidate& candidate) {
  constexpr nn::BlockSize kQuad = {1, 4};  // as int8 stores them
  const at::Tensor kept = candidate.mask.has_value() ? *candidate.mask : candidate.parameter.detach().ne(0);
  plan::KeptEntries counts{candidate.pattern, kept.sum().item<int64_t>()};
  const bool pruned = candidate.pattern != "dense";
  const auto pattern = pruned ? jouleprune::select::Pattern::parse(candidate.pattern) : jouleprune::select::Pattern{};
  if (pattern.kind == jouleprune::select::Pattern::Kind::kBlock) counts.in_blocks = stored(kept, {pattern.r, pattern.c});
  if (kept.dim() == 2 || kept.dim() == 4) counts.in_quads = stored(kept, kQuad);
  return counts;
}

}  // namespace

void add_alternatives(const Workload& workload, const std::vector<Candidate>& candidates, const std::optional<Profile>& profile,
                      std::vector<Decision>& decisions) {
  if (candidates.empty()) return;
  const Profile predicts = plan::predicting_profile(profile);
  KeptTimes times;
  for (const auto& candidate : candidates) {
    std::vector<Entry> calls;
    std::copy_if(workload.entries.begin(), workload.entries.end(), std::back_inserter(calls),
                 [&](const Entry& entry) { return entry.weight == candidate.weight && entry.layout == "dense"; });
    const auto decision = std::find_if(decisions.begin(), decisions.end(),
                                       [&](const Decision& each) { return each.weight == candidate.weight; });
    if (calls.empty() || decision == decisions.end()) continue;
    for (const auto& way : plan::alternatives(calls, kept_entries(candidate), predicts, times.table(), at::get_num_threads())) {
      decision->candidates += way.to_string() + "\n";
    }
    decision->candidates += "(predicted for " + predicts.name() + ")";
  }
}

}  // namespace jouleprune::prune
