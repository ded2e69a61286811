#include "plan/network.h"

#include <jouleprune/version.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "plan/words.h"

namespace jouleprune::plan {
namespace {
/// ceil, forgiving the rounding of the product: 10 % of 30 weights is 3 of them, not 4.
int64_t floor_weights(double min_density, int64_t weights) {
  return std::min(weights, static_cast<int64_t>(std::ceil(min_density * static_cast<double>(weights) * (1 - 1e-12))));
}

/// Multiply-adds with kept weights.
double macs_with(const Entry& entry, int64_t kept) {
  const double all = static_cast<double>(entry.macs);
  return entry.weight_elements > 0 ? all * static_cast<double>(kept) / static_cast<double>(entry.weight_elements) : all;
}

double in_order(const std::vector<double>& joules) {
  double sum = 0;
  for (const double each : joules) sum += each;
  return sum;
}
}  // namespace

Network::Network(Request request, std::shared_ptr<const Pricer> pricer)
    : request_(std::move(request)), pricer_(std::move(pricer)), currency_(parse_currency(request_.prune_for)) {
  if (request_.pattern != "auto") select::Pattern::parse(request_.pattern);  // refused also where no weight is given
  if (request_.workload.count < 1) {
    throw std::invalid_argument("workload: count: expected at least 1, got " + std::to_string(request_.workload.count));
  }
  if (request_.other_bytes.value_or(0) < 0 || (currency_ == Currency::kBytes && !request_.other_bytes)) {
    throw std::invalid_argument("other_bytes: expected the bytes that are stored beside the weights, at least 0, got " +
                                (request_.other_bytes ? std::to_string(*request_.other_bytes) : std::string("none")));
  }
  std::vector<double> dense, energy;
  for (const Entry& entry : request_.workload.entries) {
    energy.push_back(pricer_->joules(entry, request_.workload.count));
    const double joules = energy.back();
    dense.push_back(currency_ == Currency::kJoules ? joules : currency_ == Currency::kMacs ? macs_with(entry, entry.nnz) : 0);
  }
  if (currency_ == Currency::kBytes) dense.push_back(static_cast<double>(*request_.other_bytes));
  whole_entries_ = dense;
  for (const PrunableWeight& weight : request_.weights) {
    first_.push_back(layers_.size());
    add_weight(weight);
    const PrunableLayer& layer = layers_[first_.back()];
    const std::vector<double> recorded = priced_whole(layer, layer.unpruned.front()).entries;
    const Choice whole = this->whole(first_.back());
    for (size_t i = 0; i < layer.entries.size(); ++i) {
      const size_t position = layer.entries[i];
      dense[position] = recorded[i];
      whole_entries_[position] = whole.entries[i];
      energy[position] = entry_j(layer, i, layer.unpruned.front(), layer.units.weights(), "dense");
    }
  }
  first_.push_back(layers_.size());
  dense_j_ = in_order(dense);
  dense_energy_j_ = in_order(energy);
  for (size_t i = 0; i < layers_.size(); ++i) sample(i);
}

PrunableLayer Network::layer_of(const PrunableWeight& weight) const {
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
  layer.min_density = weight.min_density;
  layer.matrix = matrix_of(first);
  layer.copies = weight.copies;
  if (weight.copies < 1) {
    throw std::invalid_argument("weights: copies of \"" + weight.name + "\": expected at least 1, got " + std::to_string(weight.copies));
  }
  for (const size_t position : layer.entries) {
    if (entries[position].weight_elements != first.weight_elements) {
      throw std::invalid_argument("workload: calls of \"" + weight.name +
                                  "\" disagree on its size: " + std::to_string(first.weight_elements) + " and " +
                                  std::to_string(entries[position].weight_elements) + " elements");
    }
  }
  return layer;
}

void Network::add_weight(const PrunableWeight& weight) {
  PrunableLayer layer = layer_of(weight);
  const Entry& first = request_.workload.entries[layer.entries.front()];
  layer.group = first_.size() - 1;
  layer.unpruned = whole_forms(request_, weight, layer.entries, *pricer_);
  for (const select::Pattern& pattern : patterns_of(request_, weight, layer.dtype)) {
    MatrixSize size = layer.matrix;
    if (pattern.kind == select::Pattern::Kind::kUnstructured) size = {1, first.weight_elements, 1};
    layer.units = select::Units(pattern, size.rows, size.cols, size.taps);
    layer.forms.clear();
    if (layer.units.weights() == first.weight_elements) {
      layer.forms = pruned_forms(request_, weight, layer.entries, pattern, *pricer_);
    } else {  // no matrix is known, so nothing can be removed in blocks
      layer.units = select::Units({}, 1, first.weight_elements);
    }
    layer.floor = layer.units.units_for(floor_weights(weight.min_density, first.weight_elements));
    find_whole(layer);
    layers_.push_back(layer);
  }
}

double Network::entry_j(const PrunableLayer& layer, size_t e, const Form& form, int64_t nnz, const std::string& pattern) const {
  const Entry entry = configured(request_.workload.entries[layer.entries[e]], form, nnz, pattern);
  return pricer_->joules(entry, request_.workload.count);
}

Choice Network::priced(const PrunableLayer& layer, const Form& form, int64_t nnz, const std::string& pattern, const Held& held) const {
  Choice choice{form, nnz, 0, {}};
  for (size_t e = 0; e < layer.entries.size(); ++e) {
    const Entry& entry = request_.workload.entries[layer.entries[e]];
    double& cost = choice.entries.emplace_back(0);
    if (currency_ == Currency::kJoules) cost = entry_j(layer, e, form, nnz, pattern);
    if (currency_ == Currency::kMacs) cost = macs_with(entry, held.weights);
    if (currency_ == Currency::kBytes && e == 0) {  // however often the weight is used, it is stored once per name
      cost = static_cast<double>(stored_bytes(form, layer.units.pattern(), layer.dtype, layer.matrix, layer.units.weights(), held) *
                                 layer.copies);
    }
    choice.joules += cost;
  }
  return choice;
}

Choice Network::priced_whole(const PrunableLayer& layer, const Form& form) const {
  const int64_t weights = layer.units.weights();
  return priced(layer, form, weights, "dense", whole_of(layer.matrix, weights));
}

double Network::energy_j(size_t index, const Choice& choice, const std::string& pattern) const {
  double sum = 0;
  for (size_t e = 0; e < layers_[index].entries.size(); ++e) sum += entry_j(layers_[index], e, choice.form, choice.nnz, pattern);
  return sum;
}

double Network::dense_energy_j(size_t index) const {
  const PrunableLayer& layer = layers_[index];
  return energy_j(index, Choice{layer.unpruned.front(), layer.units.weights(), 0, {}}, "dense");
}

double Network::bytes_of(size_t index, const Choice& choice, const Held& held) const {
  const PrunableLayer& layer = layers_[index];
  return static_cast<double>(
      stored_bytes(choice.form, layer.units.pattern(), layer.dtype, layer.matrix, layer.units.weights(), held) * layer.copies);
}

void Network::find_whole(PrunableLayer& layer) const {
  for (const Form& form : layer.unpruned) {
    const double joules = priced_whole(layer, form).joules;
    if (&form == &layer.unpruned.front()) layer.dense_j = joules;
    if (&form == &layer.unpruned.front() || joules < layer.whole_j) {
      layer.whole = form;
      layer.whole_j = joules;
    }
  }
}

Choice Network::whole(size_t index) const { return priced_whole(layers_[index], layers_[index].whole); }

void Network::sample(size_t index) {
  PrunableLayer& layer = layers_[index];
  const int64_t units = layer.count();
  layer.last_winning = layer.floor - 1;
  if (units == 0 || layer.floor > units || layer.forms.empty()) return;
  const select::KeptSizes most(layer.units);
  const auto curve = [&](int64_t kept) { return choice(index, kept, most).joules; };
  if (!(curve(layer.floor) < layer.whole_j)) return;
  layer.last_winning = select::last_below(layer.floor, units, layer.whole_j, curve);
  std::vector<select::Point> points;
  for (const int64_t kept : select::sample_counts(layer.floor, layer.last_winning))
    points.push_back({kept, curve(kept)});
  if (layer.last_winning < units) points.push_back({layer.last_winning + 1, curve(layer.last_winning + 1)});
  layer.hull = select::Hull(points);
  points.resize(points.size() - (layer.last_winning < units ? 1 : 0));
  if (points.back().kept < units) points.push_back({units, layer.whole_j});
  layer.relaxed = select::Hull(points);
}

Choice Network::choice(size_t index, int64_t kept, const select::KeptSizes& sizes) const {
  const PrunableLayer& layer = layers_[index];
  const std::string pattern = layer.units.pattern().text();
  const Held held = held_by(sizes, kept);
  const double density = static_cast<double>(held.weights) / static_cast<double>(std::max<int64_t>(1, layer.units.weights()));
  Choice best;
  for (const Form& form : layer.forms) {
    const bool first = &form == &layer.forms.front();
    Choice made = priced(layer, form, stored(form, sizes, kept), pattern, held);
    if (density >= form.below) {  // dense was measured to be faster
      if (currency_ != Currency::kJoules && !first) continue;  // what is first runs dense
      // So that the curve never falls it is not cheaper than the layer as a whole.
      if (currency_ == Currency::kJoules) made.joules = std::max(made.joules, layer.whole_j);
    }
    const bool tie = !first && currency_ != Currency::kJoules && made.joules == best.joules;
    if (first || made.joules < best.joules || (tie && energy_j(index, made, pattern) < energy_j(index, best, pattern))) {
      best = std::move(made);
    }
  }
  return best;
}

double Network::minimum_j(const std::vector<bool>* may_prune) const {
  std::vector<double> entries = whole_entries_;
  for (size_t group = 0; group < groups(); ++group) {
    if (may_prune != nullptr && !(*may_prune)[group]) continue;
    double least_j = layers_[first_[group]].whole_j;
    for (size_t i = first_[group]; i < first_[group + 1]; ++i) {
      if (!layers_[i].can_win()) continue;
      const Choice least = choice(i, layers_[i].floor, select::KeptSizes(layers_[i].units));
      if (!(least.joules < least_j)) continue;
      least_j = least.joules;
      for (size_t e = 0; e < least.entries.size(); ++e) entries[layers_[i].entries[e]] = least.entries[e];
    }
  }
  return in_order(entries);
}

std::string Network::tuning() const {
  std::string table = pricer_->device_hash() + "\n" + version();
  if (currency_ != Currency::kJoules) table += "\n" + request_.prune_for;
  for (const PrunableLayer& layer : layers_) {
    table += "\n" + layer.weight + " " + layer.units.pattern().text();
    for (const std::vector<Form>* forms : {&layer.unpruned, &layer.forms}) {
      for (const Form& form : *forms) table += " " + form.kernel + "/" + form.dtype + "<" + number_text(form.below);
    }
  }
  return hash_text(table);
}

size_t pruned_of(const Network& network, size_t group, const select::Counts& counts) {
  const auto [first, last] = network.layers_of(group);
  for (size_t i = first; i < last; ++i) {
    if (counts[i] != select::kDense) return i;
  }
  return kNone;
}

}  // namespace jouleprune::plan
