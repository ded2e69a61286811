// What a selection asks of the network: joules by kept counts.
#include <utility>

#include "plan/network.h"

namespace jouleprune::plan {
namespace {
constexpr size_t kRememberedChoices = 1 << 14;  // per layer
}

NetworkJoules::NetworkJoules(const Network& network, std::vector<select::KeptSizes> sizes)
    : network_(network),
      sizes_(std::move(sizes)),
      entries_(network.whole_entries()),
      now_(network.groups(), {kNone, select::kDense}),
      known_(network.layers().size()) {}

const Choice& NetworkJoules::choice(size_t layer, int64_t kept) {
  std::unordered_map<int64_t, Choice>& known = known_[layer];
  const auto found = known.find(kept);
  if (found != known.end()) return found->second;
  if (known.size() >= kRememberedChoices) known.clear();
  return known.emplace(kept, network_.choice(layer, kept, sizes_[layer])).first->second;
}

double NetworkJoules::total(const select::Counts& counts) {
  for (size_t group = 0; group < now_.size(); ++group) {
    const size_t layer = pruned_of(network_, group, counts);
    const std::pair<size_t, int64_t> wanted{layer, layer == kNone ? select::kDense : counts[layer]};
    if (wanted == now_[group]) continue;
    now_[group] = wanted;
    const std::vector<size_t>& positions = network_.layers()[network_.layers_of(group).first].entries;
    const Choice* chosen = layer == kNone ? nullptr : &choice(layer, wanted.second);
    for (size_t e = 0; e < positions.size(); ++e) {
      entries_[positions[e]] = chosen == nullptr ? network_.whole_entries()[positions[e]] : chosen->entries[e];
    }
  }
  double sum = 0;
  for (const double joules : entries_) sum += joules;
  return sum;
}

RelaxedJoules::RelaxedJoules(const Network& network) : network_(network) {
  std::vector<double> rest = network.whole_entries();
  for (const PrunableLayer& layer : network.layers()) {
    for (const size_t position : layer.entries) rest[position] = 0;
  }
  for (const double joules : rest) rest_j_ += joules;
}

double RelaxedJoules::total(const select::Counts& counts) {
  double sum = rest_j_;
  for (size_t group = 0; group < network_.groups(); ++group) {
    const size_t layer = pruned_of(network_, group, counts);
    sum += layer == kNone ? network_.layers()[network_.layers_of(group).first].whole_j : pruned(layer, counts[layer]);
  }
  return sum;
}

}  // namespace jouleprune::plan
