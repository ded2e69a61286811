#include "record/weight_names.h"

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
  if (base == "values" || base.ends_with(".values")) {
    strip(base, "values");
    if (all.contains(base + "col_indices") && all.contains(base + "row_offsets")) return base + "weight";
  }
  return name;
}

std::string layer_name(const std::string& weight) {
  std::string layer = weight;
  if (layer == "weight") return "";
  strip(layer, ".weight");
  return layer;
}

}  // namespace jouleprune::record
