#include <jouleprune/device_use.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "energy/kernel_cost.h"
#include "energy/price.h"
#include "energy/profile_data.h"
#include "energy/terms.h"

namespace jouleprune::energy {
namespace {

/// Bits of a call's weight as it is stored (with what tells its places on CPU and GPU), inputs and outputs.
double held_bits(const Entry& entry, const Profile& profile, const DtypeCost& cost) {
  const ProfileData& data = profile.data();
  const double activations = static_cast<double>(entry.input_elements) + static_cast<double>(entry.output_elements);
  double weights = static_cast<double>(zeros_save(profile) ? entry.nnz : entry.weight_elements) * cost.bits;
  if (data.dataflow == "cache-tiled") {
    const KernelCounts done =
        find_kernel(entry.kernel).count(entry, data.kind == "gpu" ? DeviceKind::kGpu : DeviceKind::kCpu);
    weights = done.weight_value_bits + done.weight_index_bits + done.code_bits;
  }
  return weights + activations * cost.bits;
}

/// Of a level; of a systolic array's cache its two halves.
std::optional<double> capacity_bits(const ProfileData& profile, size_t level) {
  if (profile.array && level == 1) return profile.array->input_cache_bits + profile.array->weight_cache_bits;
  const double bits = profile.levels[level].capacity_bits;
  return std::isfinite(bits) ? std::optional(bits) : std::nullopt;
}

double peak(const Entry& entry, const ProfileData& profile, const DtypeCost& cost) {
  return without_matrix_units(entry, profile, cost) ? cost.sparse_macs_s.value : cost.macs_s.value;
}

/// An end of the time. Of a mapping, the one that the call runs in: the ends of its joules may each have another, faster or slower one.
double seconds_at(const Entry& entry, const ProfileData& profile, const DtypeCost& cost, Corner corner) {
  const bool mapped = profile.dataflow == "fixed-nest";
  const Counts counts = engine_of(profile)(entry, profile, cost, mapped ? Corner::kValue : corner);
  return mapped && counts.busy_macs > 0 ? seconds_of(counts, profile, cost.macs_s, corner) : counts.seconds;
}

nlohmann::json or_null(const std::optional<double>& number) {
  return number ? nlohmann::json(*number) : nlohmann::json(nullptr);
}

}  // namespace

DeviceUse device_use(const Workload& workload, const Profile& profile) {
  const ProfileData& data = profile.data();
  DeviceUse use;
  double busy_s = 0, held = 0;
  bool every_peak = true;
  use.levels.resize(data.levels.size());
  for (const Entry& entry : workload.entries) {
    const LayerEnergy layer = price(entry, profile, 1);
    const DtypeCost cost = cost_of(data, entry.dtype);
    const double macs_s = peak(entry, data, cost);
    use.latency_s += layer.latency_s;
    use.low_s += seconds_at(entry, data, cost, Corner::kLow) + data.launch_s.low;
    use.high_s += seconds_at(entry, data, cost, Corner::kHigh) + data.launch_s.high;
    use.macs += layer.macs_issued;
    if (macs_s > 0) {
      busy_s += layer.macs_issued / macs_s;
    } else if (layer.macs_issued > 0) {
      every_peak = false;
    }
    held = std::max(held, held_bits(entry, profile, cost));
    for (size_t i = 0; i < data.levels.size(); ++i) use.levels[i].bytes += layer.bytes.at(data.levels[i].name);
  }
  if (every_peak && use.latency_s > 0) use.multiplier_share = busy_s / use.latency_s;
  for (size_t i = 0; i < data.levels.size(); ++i) {
    LevelUse& level = use.levels[i];
    level.name = data.levels[i].name;
    if (const auto bits = capacity_bits(data, i)) {
      level.capacity_bytes = *bits / 8;
      if (*bits > 0) level.fill = std::min(held / *bits, 1.0);
    }
    const double bytes_s = data.levels[i].bytes_s.value;
    if (bytes_s > 0 && use.latency_s > 0) level.bandwidth_share = level.bytes / bytes_s / use.latency_s;
  }
  return use;
}

std::string to_json(const DeviceUse& use) {
  nlohmann::json json = {
      {"latency_s", use.latency_s}, {"low_s", use.low_s}, {"high_s", use.high_s}, {"macs", use.macs}};
  json["multiplier_share"] = or_null(use.multiplier_share);
  json["levels"] = nlohmann::json::array();
  for (const LevelUse& level : use.levels) {
    nlohmann::json line = {{"name", level.name}, {"bytes", level.bytes}};
    line["capacity_bytes"] = or_null(level.capacity_bytes);
    line["fill"] = or_null(level.fill);
    line["bandwidth_share"] = or_null(level.bandwidth_share);
    json["levels"].push_back(std::move(line));
  }
  return json.dump();
}

}  // namespace jouleprune::energy
