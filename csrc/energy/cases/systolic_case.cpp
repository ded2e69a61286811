#include "energy/cases/systolic_case.h"

#include <jouleprune/error.h>

#include <array>
#include <cmath>

#include "energy/cases/reading.h"
#include "energy/systolic/array.h"

namespace jouleprune::energy::cases {
namespace {

constexpr size_t kMaxLayers = 4096;
// Of all layers together: where each weight is looked at, and where they are sorted.
constexpr int64_t kMaxHashed = int64_t{1} << 28, kMaxSorted = int64_t{1} << 26;

struct NamedLayer {
  std::string name;
  systolic::Layer layer;
};

/// A number, or one for height and one for width.
std::array<int64_t, 2> pair_of(const Node& node) {
  if (!node.json().is_array()) return {node.count(), node.count()};
  if (node.array_size(2) != 2) node.fail("a number or [height, width]");
  return {node.item(0).count(), node.item(1).count()};
}

template <class Work>
auto guarded(const Node& node, const Work& work) {
  try {
    return work();
  } catch (const core::ProfileError&) {
    throw;
  } catch (const std::invalid_argument& error) {
    node.fail_plainly(error.what());
  }
}

systolic::Array read_array(const Node& node) {
  systolic::Array array;
  array.rows = positive(node.at("array_rows_m"));
  array.cols = positive(node.at("array_cols_n"));
  array.input_cache_words = node.at("input_cache_words_s1").count();
  array.weight_cache_words = node.at("weight_cache_words_s2").count();
  array.e_mac = at_least_0(node.at("e_mac"));
  array.e_mem = at_least_0(node.at("e_mem"));
  array.e_cache = at_least_0(node.at("e_cache"));
  array.e_rf = at_least_0(node.at("e_rf"));
  if (node.has("word_bits")) array.word_bits = positive(node.at("word_bits"));
  guarded(node, [&] { systolic::check(array); });
  return array;
}

NamedLayer read_layer(const Node& node, int64_t batch) {
  NamedLayer named{node.at("name").text(256), {}};
  systolic::Layer& layer = named.layer;
  layer.fully_connected = node.at("type").one_of({"conv", "fc"}) == "fc";
  layer.out_channels = positive(node.at("out_channels"));
  layer.in_channels = positive(node.at("in_channels"));
  layer.batch = batch;
  if (node.has("groups")) layer.groups = positive(node.at("groups"));
  if (node.has("weight_bits")) layer.weight_bits = positive(node.at("weight_bits"));
  if (node.has("input_bits")) layer.input_bits = positive(node.at("input_bits"));
  if (node.has("metadata_bits")) layer.metadata_bits = node.at("metadata_bits").count();
  if (!layer.fully_connected) {
    const auto read = [&](const char* key, int64_t& height, int64_t& width) {
      if (!node.has(key)) return;
      const auto sides = pair_of(node.at(key));
      height = sides[0];
      width = sides[1];
    };
    for (const char* key : {"in_hw", "kernel"}) node.at(key);
    read("in_hw", layer.in_h, layer.in_w);
    read("kernel", layer.kernel_h, layer.kernel_w);
    read("stride", layer.stride_h, layer.stride_w);
    read("padding", layer.padding_h, layer.padding_w);
    read("dilation", layer.dilation_h, layer.dilation_w);
  }
  guarded(node, [&] { systolic::check(layer); });
  if (node.has("out_hw")) {
    const auto given = pair_of(node.at("out_hw"));
    if (given[0] != layer.out_h() || given[1] != layer.out_w()) {
      node.at("out_hw").fail("[" + std::to_string(layer.out_h()) + ", " + std::to_string(layer.out_w()) +
                             "], which input, kernel, stride and padding give");
    }
  }
  if (node.has("weights") && node.at("weights").count() != layer.weights()) {
    node.at("weights").fail(std::to_string(layer.weights()) + ", which channels and kernel give");
  }
  return named;
}

std::vector<NamedLayer> read_layers(const Node& root) {
  const Node workload = root.at("workload"), list = workload.at("layers");
  const int64_t batch = workload.has("batch") ? workload.at("batch").count() : 1;
  const size_t count = list.array_size(kMaxLayers);
  std::vector<NamedLayer> layers;
  for (size_t i = 0; i < count; ++i) layers.push_back(read_layer(list.item(i), batch));
  return layers;
}

/// The hash that case files name: from an index to 32 bits.
uint32_t hash_of(uint64_t index, uint64_t seed) {
  auto x = static_cast<uint32_t>((index + seed * 1000003) * 2654435761u);
  x ^= x >> 16;
  x *= 0x45d9f3bu;
  return x ^ (x >> 16);
}

void expect_at_most(int64_t most, const Node& node, const std::vector<NamedLayer>& layers) {
  double weights = 0;
  for (const NamedLayer& named : layers) weights += static_cast<double>(named.layer.weights());
  if (weights > static_cast<double>(most))
    node.fail_plainly("expected at most " + std::to_string(most) + " weights in all");
}

/// Weights that the hash keeps, per tap: those whose hash is below density x 2^32.
std::vector<int64_t> kept_taps(const systolic::Layer& layer, double density, uint64_t seed) {
  const auto below = static_cast<uint64_t>(std::floor(density * 4294967296.0));
  std::vector<int64_t> kept(static_cast<size_t>(layer.taps()), 0);
  const auto weights = static_cast<uint64_t>(layer.weights()), taps = static_cast<uint64_t>(layer.taps());
  for (uint64_t i = 0; i < weights; ++i) kept[i % taps] += hash_of(i, seed) < below;
  return kept;
}

Json energy_json(const systolic::LayerEnergy& energy) {
  return {{"X", energy.inputs}, {"W", energy.weights}, {"C", energy.macs}, {"total", energy.total()}};
}

}  // namespace

Json evaluate_systolic(const Node& root) {
  const systolic::Array array = read_array(root.at("architecture"));
  const std::vector<NamedLayer> layers = read_layers(root);
  double density = 1;
  uint64_t base_seed = 0;
  const bool masked = root.has("weights_mask");
  if (masked) {
    const Node mask = root.at("weights_mask"), share = mask.at("density");
    expect_at_most(kMaxHashed, mask, layers);
    density = share.number();
    if (density < 0 || density > 1) share.fail("a share from 0 to 1");
    base_seed = static_cast<uint64_t>(mask.at("base_seed").count());
  }
  Json list = Json::array();
  systolic::LayerEnergy sum;
  for (size_t i = 0; i < layers.size(); ++i) {
    const systolic::Layer& layer = layers[i].layer;
    const std::vector<int64_t> kept = masked ? kept_taps(layer, density, base_seed + i) : systolic::dense_taps(layer);
    const systolic::LayerEnergy energy =
        guarded(root.at("workload").at("layers").item(i), [&] { return systolic::exact_energy(layer, array, kept); });
    int64_t nnz = 0;
    for (const int64_t count : kept) nnz += count;
    Json entry = {{"name", layers[i].name},
                  {"nnz", nnz},
                  {"energy", energy_json(energy)},
                  {"macs_counted", static_cast<double>(systolic::valid_macs(layer, kept))}};
    const systolic::Marginals marginals = systolic::marginals(layer, array);
    if (layer.fully_connected && marginals.in_cache == marginals.out_of_cache) {
      entry["marginal"] = marginals.in_cache;
    } else {
      entry["marginal_in_cache"] = marginals.in_cache;
      entry["marginal_out_of_cache"] = marginals.out_of_cache;
    }
    list.push_back(std::move(entry));
    sum.inputs += energy.inputs;
    sum.weights += energy.weights;
    sum.macs += energy.macs;
  }
  return {{"layers", std::move(list)}, {"totals", energy_json(sum)}};
}

Json evaluate_projection(const Node& root) {
  const systolic::Array array = read_array(root.at("architecture"));
  const std::vector<NamedLayer> layers = read_layers(root);
  const Node weights = root.at("weights");
  expect_at_most(kMaxSorted, weights, layers);
  const auto base_seed = static_cast<uint64_t>(weights.at("base_seed").count());

  std::vector<std::vector<float>> values;
  std::vector<systolic::Weighted> given;
  const auto energy_of = [&](const auto& count) {
    double relaxed = 0, exact = 0;
    for (size_t i = 0; i < layers.size(); ++i) {
      const std::vector<int64_t> taps = count(i);
      int64_t kept = 0;
      for (const int64_t each : taps) kept += each;
      guarded(root.at("workload").at("layers").item(i), [&] {
        relaxed += systolic::relaxed_energy(layers[i].layer, array, kept).total();
        exact += systolic::exact_energy(layers[i].layer, array, taps).total();
      });
    }
    return std::array{relaxed, exact};
  };
  for (size_t i = 0; i < layers.size(); ++i) {
    const systolic::Layer& layer = layers[i].layer;
    const double scale = 2 / std::sqrt(static_cast<double>(layer.fan_in()));
    std::vector<float>& layer_values = values.emplace_back(static_cast<size_t>(layer.weights()));
    for (size_t w = 0; w < layer_values.size(); ++w) {
      layer_values[w] = static_cast<float>((hash_of(w, base_seed + i) / 4294967296.0 - 0.5) * scale);
    }
  }
  for (size_t i = 0; i < layers.size(); ++i) given.push_back({layers[i].layer, values[i].data()});

  const auto before = energy_of([&](size_t i) { return systolic::dense_taps(layers[i].layer); });
  const double budget = root.has("budget") ? at_least_0(root.at("budget")) : before[0] / 2;
  // The published program leaves out the last weight that would fit.
  const auto kept = guarded(weights, [&] { return systolic::project(given, array, budget, 1); });
  Json per_layer = Json::array();
  const auto taps_of = [&](size_t i) {
    std::vector<int64_t> taps(static_cast<size_t>(layers[i].layer.taps()), 0);
    for (size_t w = 0; w < kept[i].size(); ++w) taps[w % taps.size()] += kept[i][w];
    return taps;
  };
  for (size_t i = 0; i < layers.size(); ++i) {
    int64_t count = 0;
    for (const int64_t each : taps_of(i)) count += each;
    per_layer.push_back(count);
  }
  const auto after = energy_of(taps_of);
  return {{"relaxed_energy_before", before[0]},
          {"exact_energy_before", before[1]},
          {"budget", budget},
          {"nnz_kept_per_layer", std::move(per_layer)},
          {"relaxed_energy_after", after[0]},
          {"exact_energy_after", after[1]}};
}

}  // namespace jouleprune::energy::cases
