#include <jouleprune/density_curves.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "energy/kernel_cost.h"
#include "energy/price.h"
#include "energy/profile_data.h"

namespace jouleprune::energy {
namespace {

constexpr int kSteps = 1000;  // of the search for the break-even

double joules(const Entry& entry, const Profile& profile, int64_t count) {
  return price(entry, profile, count).energy_j;
}

Entry dense_of(Entry entry) {
  entry.nnz = entry.weight_elements;
  entry.layout = entry.kernel = entry.pattern = "dense";
  return entry;
}

/// What a kernel makes of a network: the layers it runs, and the joules of all others.
struct Part {
  std::vector<Entry> layers;
  double rest_j = 0;

  double at(double density, const Profile& profile, int64_t count) const {
    double sum = rest_j;
    for (Entry entry : layers) {
      entry.nnz = static_cast<int64_t>(std::llround(density * static_cast<double>(entry.weight_elements)));
      sum += joules(entry, profile, count);
    }
    return sum;
  }
};

Part part_of(const Workload& workload, const Profile& profile, const KernelCost* kernel) {
  Part part;
  for (const Entry& entry : workload.entries) {
    Entry layer = dense_of(entry);
    const bool runs = layer.weight_elements > 0 && layer.macs > 0 && (kernel == nullptr || kernel->supports(layer));
    if (!runs) {
      part.rest_j += joules(layer, profile, workload.count);
      continue;
    }
    if (kernel != nullptr) {
      layer.kernel = kernel->name;
      layer.layout = kernel->layout;
      layer.pattern = kernel->pattern == "block" ? "16x16" : "unstructured";
    }
    part.layers.push_back(std::move(layer));
  }
  return part;
}

DensityCurve curve_of(const Part& part, const Profile& profile, int64_t count, double dense_j,
                      const std::vector<double>& densities) {
  DensityCurve curve;
  curve.layers = static_cast<int64_t>(part.layers.size());
  for (const double density : densities) curve.energy_j.push_back(part.at(density, profile, count));
  // Sums in another order than the dense total's: what is missing by rounding alone is there.
  const auto pays = [&](int step) { return part.at(step / double{kSteps}, profile, count) <= dense_j * (1 + 1e-12); };
  if (!pays(0)) return curve;
  int low = 0, high = kSteps;
  while (low < high) {
    const int middle = high - (high - low) / 2;
    if (pays(middle)) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  curve.density = low / double{kSteps};
  return curve;
}

}  // namespace

DensityCurves density_curves(const Workload& workload, const Profile& profile, const std::vector<double>& densities) {
  for (const double density : densities) {
    if (!(density >= 0 && density <= 1)) {
      throw std::invalid_argument("densities: expected shares from 0 to 1, got " + std::to_string(density));
    }
  }
  DensityCurves found;
  for (const Entry& entry : workload.entries) {
    const LayerEnergy dense = price(dense_of(entry), profile, workload.count);
    found.dense_j += dense.energy_j;
    found.dense_low_j += dense.low_j;
    found.dense_high_j += dense.high_j;
  }
  const auto add = [&](const KernelCost* kernel, std::string name, std::string layout) {
    const Part part = part_of(workload, profile, kernel);
    if (part.layers.empty()) return;
    DensityCurve& curve = found.curves.emplace_back(curve_of(part, profile, workload.count, found.dense_j, densities));
    curve.kernel = std::move(name);
    curve.layout = std::move(layout);
  };
  if (profile.data().dataflow != "cache-tiled") {
    if (zeros_save(profile)) add(nullptr, "zero-skip", "dense");
    return found;
  }
  for (const KernelCost& kernel : kernels()) {
    const bool here = profile.kind() == "cpu" || kernel.name != "bsr-int8";  // which has no kernel on GPUs
    if (kernel.layout != "dense" && here) add(&kernel, std::string(kernel.name), std::string(kernel.layout));
  }
  return found;
}

std::string to_json(const DensityCurves& curves) {
  nlohmann::json json = {
      {"dense_j", curves.dense_j}, {"dense_low_j", curves.dense_low_j}, {"dense_high_j", curves.dense_high_j}};
  json["curves"] = nlohmann::json::array();
  for (const DensityCurve& curve : curves.curves) {
    nlohmann::json line = {{"kernel", curve.kernel}, {"layout", curve.layout}, {"layers", curve.layers},
                           {"energy_j", curve.energy_j}};
    line["density"] = curve.density ? nlohmann::json(*curve.density) : nlohmann::json(nullptr);
    json["curves"].push_back(std::move(line));
  }
  return json.dump();
}

}  // namespace jouleprune::energy
