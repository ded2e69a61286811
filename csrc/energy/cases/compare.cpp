#include "energy/cases/compare.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "energy/cases/reading.h"

namespace jouleprune::energy::cases {
namespace {

/// A value holds when it is within either allowance.
struct Allowance {
  double relative = 0, absolute = 0;
};

std::string shortly(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.9g", value);
  return text;
}

class Comparison {
 public:
  Comparison(const Node& root) {
    if (!root.has("tolerance")) return;
    const Node node = root.at("tolerance");
    node.expect_object();
    const double energy = optional_number(node, "energy_relative", 0);
    energy_.relative = optional_number(node, "energy_fj_per_compute_relative", energy);
    energy_.absolute = optional_number(node, "energy_fj_per_compute_absolute", 0);
    macs_.relative = optional_number(node, "macs_relative", 0);
    if (node.has("counts") && !node.at("counts").json().is_string()) counts_.relative = at_least_0(node.at("counts"));
    if (node.has("counts") && node.at("counts").json().is_string()) node.at("counts").one_of({"exact"});
    if (node.has("nnz") && node.at("nnz").json().is_string()) node.at("nnz").one_of({"exact"});
    if (node.has("nnz_per_layer")) kept_.absolute = within(node.at("nnz_per_layer"));
  }

  void walk(const Json& expected, const Json* computed, const std::string& pointer, const std::string& key) {
    if (expected.is_object()) {
      for (const auto& [name, value] : expected.items()) {
        const bool there = computed != nullptr && computed->is_object() && computed->contains(name);
        walk(value, there ? &computed->at(name) : nullptr, pointer + "/" + name, name);
      }
      return;
    }
    if (expected.is_array()) {
      const size_t size = computed != nullptr && computed->is_array() ? computed->size() : 0;
      for (size_t i = 0; i < expected.size(); ++i) {
        walk(expected[i], i < size ? &(*computed)[i] : nullptr, pointer + "/" + std::to_string(i), key);
      }
      if (size > expected.size()) {
        add(pointer, std::to_string(expected.size()) + " items", std::to_string(size) + " computed");
      }
      return;
    }
    const std::string shown = expected.dump(-1, ' ', true, Json::error_handler_t::replace);
    if (computed == nullptr) return add(pointer, shown, "nothing computed");
    if (!expected.is_number() || !computed->is_number()) {
      if (expected != *computed) add(pointer, shown, computed->dump() + " computed");
      return;
    }
    const double want = expected.get<double>(), have = computed->get<double>();
    const Allowance allowance = allowed(key);
    const double off = std::abs(want - have);
    if (off <= allowance.absolute || off <= allowance.relative * std::abs(want)) return;
    std::string text = shortly(have) + " computed";
    if (want != 0) text += ", " + shortly(100 * (have - want) / std::abs(want)) + " % off";
    add(pointer, shown, text);
  }

  std::vector<std::string> lines;

 private:
  void add(const std::string& pointer, const std::string& expected, const std::string& came) {
    lines.push_back(pointer + ": expected " + expected + ", " + came);
  }

  /// "within 2, by position ...", or a number.
  static double within(const Node& node) {
    if (node.json().is_number()) return at_least_0(node);
    const std::string text = node.text();
    double value = 0;
    if (std::sscanf(text.c_str(), "within %lf", &value) != 1 || !(value >= 0))
      node.fail("a number, or \"within NUMBER\"");
    return value;
  }

  Allowance allowed(const std::string& key) const {
    const auto starts = [&key](const char* prefix) { return key.starts_with(prefix); };
    if (starts("nnz_kept")) return kept_;
    if (starts("macs")) return macs_;
    static constexpr const char* kPrinted[] = {"energy_uj_printed", "utilization_percent"};
    for (const char* name : kPrinted) {
      if (key == name) return {energy_.relative, std::max(energy_.absolute, 0.005 + 1e-9)};
    }
    static constexpr const char* kCounts[] = {"nnz",      "cycles",         "computes",  "count",
                                              "reads",    "fills",          "updates",   "payload",
                                              "metadata", "partition_size", "tile_size", "max_stored"};
    for (const char* name : kCounts) {
      if (key == name) return counts_;
    }
    for (const char* prefix : {"algorithmic_", "gated_", "skipped_", "actual_", "utilized_instances"}) {
      if (starts(prefix)) return counts_;
    }
    return energy_;
  }

  Allowance counts_, energy_, macs_, kept_;
};

}  // namespace

std::vector<std::string> deviations(const Json& computed, const Node& root) {
  if (!root.has("expected")) return {};
  root.at("expected").expect_object();
  Comparison comparison(root);
  comparison.walk(root.at("expected").json(), &computed, "/expected", "");
  return std::move(comparison.lines);
}

}  // namespace jouleprune::energy::cases
