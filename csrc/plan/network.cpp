#include "plan/network.h"

#include <jouleprune/version.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "plan/words.h"

namespace jouleprune::plan {
namespace {
constexpr size_t kRememberedChoices = 1 << 14;  // per layer

/// ceil, forgiving the rounding of the product: 10 % of 30 weights is 3 of them, not 4.
int64_t floor_units(double min_density, int64_t units) {
  return std::min(units, static_cast<int64_t>(std::ceil(min_density * static_cast<double>(units) * (1 - 1e-12))));
}

double in_order(const std::vector<double>& joules) {
  double sum = 0;
  for (const double each : joules) sum += each;
  return sum;
}
}  // namespace

Network::Network(Request request, std::shared_ptr<const Pricer> pricer)
    : request_(std::move(request)), pricer_(std::move(pricer)) {
  if (request_.pattern != "unstructured") {
    throw core::PatternError("pattern: expected \"unstructured\", got \"" + request_.pattern + "\"");
  }
  if (request_.workload.count < 1) {
    throw std::invalid_argument("workload: count: expected at least 1, got " + std::to_string(request_.workload.count));
  }
  for (const Entry& entry : request_.workload.entries)
    dense_entries_.push_back(pricer_->joules(entry, request_.workload.count));
  for (const PrunableWeight& weight : request_.weights) add_layer(weight);
  dense_j_ = in_order(dense_entries_);
  for (size_t i = 0; i < layers_.size(); ++i) sample(i);
}

void Network::add_layer(const PrunableWeight& weight) {
  const std::vector<Entry>& entries = request_.workload.entries;
  PrunableLayer layer;
  layer.weight = weight.name;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!weight.name.empty() && entries[i].weight == weight.name) layer.entries.push_back(i);
  }
  if (layer.entries.empty())
    throw std::invalid_argument("weights: no recorded op uses the weight \"" + weight.name + "\"");
  for (const PrunableLayer& other : layers_) {
    if (other.weight == weight.name) throw std::invalid_argument("weights: \"" + weight.name + "\" is named twice");
  }
  if (!(weight.min_density >= 0 && weight.min_density <= 1)) {
    throw std::invalid_argument("weights: min_density of \"" + weight.name + "\": expected a share in [0, 1], got " +
                                number_text(weight.min_density));
  }
  const Entry& first = entries[layer.entries.front()];
  layer.name = first.name;
  layer.dtype = first.dtype;
  layer.units = first.weight_elements;
  layer.min_density = weight.min_density;
  layer.floor = floor_units(weight.min_density, layer.units);
  for (const size_t position : layer.entries) {
    if (entries[position].weight_elements != layer.units) {
      throw std::invalid_argument("workload: calls of \"" + weight.name +
                                  "\" disagree on its size: " + std::to_string(layer.units) + " and " +
                                  std::to_string(entries[position].weight_elements) + " elements");
    }
  }
  find_kernels(layer);
  for (const size_t position : layer.entries) {
    dense_entries_[position] =
        pricer_->joules(configured(position, layer.dense_kernel, layer.units, false), request_.workload.count);
    layer.dense_j += dense_entries_[position];
  }
  layers_.push_back(std::move(layer));
}

void Network::find_kernels(PrunableLayer& layer) const {
  for (const size_t position : layer.entries) {
    std::vector<std::string> candidates = pricer_->candidates(request_.workload.entries[position]);
    if (candidates.empty()) candidates.push_back("dense");
    if (position == layer.entries.front()) {
      layer.dense_kernel = candidates.front();
      layer.kernels.assign(candidates.begin() + (pricer_->zeros_save() ? 0 : 1), candidates.end());
    }
    std::erase_if(layer.kernels, [&](const std::string& kernel) {
      return std::find(candidates.begin(), candidates.end(), kernel) == candidates.end();
    });
  }
}

void Network::sample(size_t index) {
  PrunableLayer& layer = layers_[index];
  layer.last_winning = layer.floor - 1;
  if (layer.units == 0 || layer.kernels.empty()) return;
  const auto curve = [&](int64_t kept) { return choice(index, kept).joules; };
  if (!(curve(layer.floor) < layer.dense_j)) return;
  layer.last_winning = select::last_below(layer.floor, layer.units, layer.dense_j, curve);
  std::vector<select::Point> points;
  for (const int64_t kept : select::sample_counts(layer.floor, layer.last_winning))
    points.push_back({kept, curve(kept)});
  if (layer.last_winning < layer.units) points.push_back({layer.last_winning + 1, curve(layer.last_winning + 1)});
  layer.hull = select::Hull(points);
  points.resize(points.size() - (layer.last_winning < layer.units ? 1 : 0));
  if (points.back().kept < layer.units) points.push_back({layer.units, layer.dense_j});
  layer.relaxed = select::Hull(points);
}

Choice Network::choice(size_t index, int64_t kept) const {
  const PrunableLayer& layer = layers_[index];
  Choice best;
  std::vector<double> joules(layer.entries.size());
  for (size_t k = 0; k < layer.kernels.size(); ++k) {
    double sum = 0;
    for (size_t i = 0; i < joules.size(); ++i) {
      joules[i] = pricer_->joules(configured(layer.entries[i], layer.kernels[k], kept, true), request_.workload.count);
      sum += joules[i];
    }
    if (k == 0 || sum < best.joules) best = {k, sum, joules};
  }
  return best;
}

Entry Network::configured(size_t position, const std::string& kernel, int64_t nnz, bool pruned) const {
  Entry entry = request_.workload.entries[position];
  entry.kernel = kernel;
  entry.layout = pruned ? pricer_->layout(kernel) : "dense";
  entry.pattern = pruned ? request_.pattern : "dense";
  entry.nnz = nnz;
  return entry;
}

double Network::minimum_j(const std::vector<bool>* may_prune) const {
  std::vector<double> entries = dense_entries_;
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (!layers_[i].can_win() || (may_prune != nullptr && !(*may_prune)[i])) continue;
    const Choice least = choice(i, layers_[i].floor);
    for (size_t e = 0; e < least.entries.size(); ++e) entries[layers_[i].entries[e]] = least.entries[e];
  }
  return in_order(entries);
}

std::string Network::tuning() const {
  std::string table = pricer_->device_hash() + "\n" + version();
  for (const PrunableLayer& layer : layers_) {
    table += "\n" + layer.weight + " " + layer.dense_kernel;
    for (const std::string& kernel : layer.kernels) table += " " + kernel;
  }
  return hash_text(table);
}

NetworkJoules::NetworkJoules(const Network& network)
    : network_(network),
      entries_(network.dense_entries()),
      now_(network.layers().size(), select::kDense),
      known_(network.layers().size()) {}

const Choice& NetworkJoules::choice(size_t layer, int64_t kept) {
  std::unordered_map<int64_t, Choice>& known = known_[layer];
  const auto found = known.find(kept);
  if (found != known.end()) return found->second;
  if (known.size() >= kRememberedChoices) known.clear();
  return known.emplace(kept, network_.choice(layer, kept)).first->second;
}

double NetworkJoules::total(const select::Counts& counts) {
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == now_[i]) continue;
    now_[i] = counts[i];
    const std::vector<size_t>& positions = network_.layers()[i].entries;
    const Choice* chosen = counts[i] == select::kDense ? nullptr : &choice(i, counts[i]);
    for (size_t e = 0; e < positions.size(); ++e) {
      entries_[positions[e]] = chosen == nullptr ? network_.dense_entries()[positions[e]] : chosen->entries[e];
    }
  }
  return in_order(entries_);
}

RelaxedJoules::RelaxedJoules(const Network& network) : network_(network) {
  std::vector<double> rest = network.dense_entries();
  for (const PrunableLayer& layer : network.layers()) {
    for (const size_t position : layer.entries) rest[position] = 0;
  }
  rest_j_ = in_order(rest);
}

double RelaxedJoules::total(const select::Counts& counts) {
  double sum = rest_j_;
  for (size_t i = 0; i < counts.size(); ++i) {
    sum += counts[i] == select::kDense ? network_.layers()[i].dense_j : pruned(i, counts[i]);
  }
  return sum;
}

}  // namespace jouleprune::plan
