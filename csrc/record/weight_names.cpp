#include "record/weight_names.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace jouleprune::record {
namespace {

bool strip(std::string& name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return false;
  name.resize(name.size() - suffix.size());
  return true;
}

/// torch.nn.utils.parametrize keeps "<module>.parametrizations.<tensor>.original", and its own tensors beside that.
bool parametrized(std::string& name) {
  constexpr std::string_view kKey = "parametrizations.";
  const size_t key = name.find(kKey);
  if (key == std::string::npos || (key > 0 && name[key - 1] != '.')) return false;
  const size_t tensor = key + kKey.size();
  name = name.substr(0, key) + name.substr(tensor, name.find('.', tensor) - tensor);
  return true;
}

/// Sparse modules of several weights hold each as a layer: "lstm.weight_ih_l0.weight" is "lstm.weight_ih_l0".
std::string of_layer(const std::string& name) {
  std::string layer = name;
  if (!strip(layer, ".weight")) return name;
  const std::string last = layer.substr(layer.rfind('.') + 1);
  return last.starts_with("weight_") || last.ends_with("_weight") ? layer : name;
}

}  // namespace

std::string weight_name(const std::string& name, const std::set<std::string>& all) {
  std::string base = name;
  if (parametrized(base) || strip(base, "_orig")) return base;
  if (strip(base, "_mask")) return all.contains(base + "_orig") ? base : name;
  for (const std::string_view suffix : {"_g", "_v"}) {  // the older torch.nn.utils.weight_norm
    base = name;
    if (strip(base, suffix) && all.contains(base + "_g") && all.contains(base + "_v")) return base;
  }
  base = name;
  struct Layout {
    std::string_view values;
    std::array<const char*, 2> structure;  // tensors beside them
  };
  constexpr Layout layouts[] = {{"values", {"col_indices", "row_offsets"}},
                                {"values", {"indices", "pattern"}},
                                {"blocks", {"block_columns", "block_row_offsets"}}};
  for (const auto& [values, structure] : layouts) {
    base = name;
    if (!strip(base, values) || (!base.empty() && !base.ends_with('.'))) continue;
    const auto there = [&](const char* tensor) { return all.contains(base + tensor); };
    if (std::all_of(structure.begin(), structure.end(), there)) return of_layer(base + "weight");
  }
  return of_layer(name);
}

std::string layer_name(const std::string& weight) {
  std::string layer = weight;
  if (layer == "weight") return "";
  strip(layer, ".weight");
  return layer;
}

}  // namespace jouleprune::record
