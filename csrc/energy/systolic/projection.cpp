// Weights within an energy budget: a greedy 0/1 knapsack.
#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

#include "energy/systolic/array.h"

namespace jouleprune::energy::systolic {
namespace {

constexpr int64_t kMostWeights = (int64_t{1} << 31) - 1;

/// Small, because there is one per weight.
struct Item {
  float score;           // w^2 / energy, in the precision of the published program, so that ties fall as there
  uint32_t cached : 1;   // in the weight cache
  uint32_t weight : 31;  // over all layers
};

/// `first`: weights of the layers before.
void add_items(const Weighted& given, const Array& array, uint32_t first, std::vector<Item>& items) {
  const Marginals each = marginals(given.layer, array);
  const auto count = static_cast<uint32_t>(given.layer.weights());
  const auto cached = static_cast<uint32_t>(std::min(cached_weights(given.layer, array), given.layer.weights()));
  std::vector<uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0u);
  const auto squared = [&](uint32_t i) { return given.weights[i] * given.weights[i]; };
  // Only which ones are in the cache matters, not their order.
  std::nth_element(order.begin(), order.begin() + cached, order.end(),
                   [&](uint32_t a, uint32_t b) { return squared(a) != squared(b) ? squared(a) > squared(b) : a < b; });
  for (uint32_t rank = 0; rank < count; ++rank) {
    const double cost = rank < cached ? each.in_cache : each.out_of_cache;
    items.push_back({squared(order[rank]) / static_cast<float>(cost), rank < cached, first + order[rank]});
  }
}

}  // namespace

std::vector<std::vector<bool>> project(const std::vector<Weighted>& layers, const Array& array, double budget,
                                       size_t spare) {
  check(array);
  std::vector<Item> items;
  double left = budget;
  std::vector<std::vector<bool>> kept;
  std::vector<Marginals> each;
  std::vector<uint32_t> first{0};
  for (const Weighted& given : layers) {
    check(given.layer);
    if (given.layer.weights() > kMostWeights - first.back()) {
      throw std::invalid_argument("layers: expected fewer than 2^31 weights in all");
    }
    left -= relaxed_energy(given.layer, array, 0).inputs;
    each.push_back(marginals(given.layer, array));
    add_items(given, array, first.back(), items);
    kept.emplace_back(static_cast<size_t>(given.layer.weights()), false);
    first.push_back(first.back() + static_cast<uint32_t>(given.layer.weights()));
  }
  const auto layer_of = [&](const Item& item) {
    return static_cast<size_t>(std::upper_bound(first.begin(), first.end(), uint32_t{item.weight}) - first.begin() - 1);
  };
  const auto energy_of = [&](const Item& item) {
    const Marginals& of_layer = each[layer_of(item)];
    return item.cached ? of_layer.in_cache : of_layer.out_of_cache;
  };
  if (!(left >= 0)) {
    throw std::invalid_argument("budget: expected at least what inputs and outputs need (" +
                                std::to_string(budget - left) + "), got " + std::to_string(budget));
  }
  std::sort(items.begin(), items.end(),
            [](const Item& a, const Item& b) { return a.score != b.score ? a.score > b.score : a.weight < b.weight; });
  size_t count = 0;
  double spent = 0;
  while (count < items.size() && spent + energy_of(items[count]) <= left) spent += energy_of(items[count++]);
  count -= std::min(count, spare);
  for (size_t i = 0; i < count; ++i) {
    const size_t layer = layer_of(items[i]);
    kept[layer][items[i].weight - first[layer]] = true;
  }
  return kept;
}

}  // namespace jouleprune::energy::systolic
