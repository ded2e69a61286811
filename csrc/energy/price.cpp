#include "energy/price.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "energy/engine.h"
#include "energy/json_reader.h"
#include "energy/kernel_cost.h"
#include "energy/nest/device.h"
#include "energy/terms.h"

namespace jouleprune {

Parts& Parts::operator+=(const Parts& other) {
  compute_j += other.compute_j;
  memory_j += other.memory_j;
  metadata_j += other.metadata_j;
  static_j += other.static_j;
  return *this;
}

namespace energy {
namespace {

/// Joules over `count`: every term is divided before it is added, so that explain() shows the very addends.
Parts joules(const Counts& counts, const ProfileData& profile, const DtypeCost& cost, Corner corner, double count) {
  Parts parts;
  each_term(counts, profile, cost, corner,
            [&](const Term& term) { part_of(parts, term.counted) += term.joules(count); });
  return parts;
}

[[noreturn]] void refuse(const Entry& entry, const std::string& field, const std::string& expected,
                         const std::string& got) {
  throw std::invalid_argument("entry '" + entry.name + "': " + field + ": expected " + expected + ", got " + got);
}

}  // namespace

Engine engine_of(const ProfileData& profile) {
  if (profile.dataflow == "systolic") return count_systolic;
  if (profile.dataflow == "fixed-nest") return count_nest;
  return profile.dataflow == "op-count" ? count_ops : count_tiles;
}

double seconds_of(const Counts& counts, const ProfileData& profile, const Quantity& macs_s, Corner corner) {
  double seconds = macs_s.value > 0 ? counts.busy_macs / macs_s.at(opposite(corner)) : 0;
  for (size_t i = 0; i < profile.levels.size(); ++i) {
    const Quantity& bytes_s = profile.levels[i].bytes_s;
    const Traffic& traffic = counts.levels[i];
    if (bytes_s.value <= 0) continue;
    const double bytes = (traffic.read_bits + traffic.write_bits + traffic.metadata_bits) / 8;
    seconds = std::max(seconds, bytes / bytes_s.at(opposite(corner)));
  }
  return seconds;
}

Counts count_traffic(const Entry& entry, const ProfileData& profile, const DtypeCost& cost, Corner corner) {
  const bool fused = std::find(profile.fused_ops.begin(), profile.fused_ops.end(), entry.op) != profile.fused_ops.end();
  const double inputs = static_cast<double>(entry.input_elements), outputs = static_cast<double>(entry.output_elements);
  Counts counts;
  counts.ops = static_cast<double>(entry.ops);
  counts.levels[0].read_bits = cost.bits * (fused ? std::max(inputs - outputs, 0.0) : inputs);
  counts.levels[0].write_bits = fused ? 0 : cost.bits * outputs;
  counts.seconds = seconds_of(counts, profile, cost.macs_s, corner);
  return counts;
}

void check(const Entry& entry) {
  const auto count = [&](const char* field, int64_t value, int64_t least) {
    if (value < least || value > kMaxCount) {
      refuse(entry, field, "an integer from " + std::to_string(least) + " to 2^53", std::to_string(value));
    }
  };
  count("rows", entry.rows, 0);
  count("cols", entry.cols, 0);
  count("n", entry.n, 0);
  count("groups", entry.groups, 1);
  count("macs", entry.macs, 0);
  count("ops", entry.ops, 0);
  count("weight_elements", entry.weight_elements, 0);
  count("nnz", entry.nnz, 0);
  count("input_elements", entry.input_elements, 0);
  count("output_elements", entry.output_elements, 0);
  if (entry.nnz > entry.weight_elements) {
    refuse(entry, "nnz", "at most weight_elements (" + std::to_string(entry.weight_elements) + ")",
           std::to_string(entry.nnz));
  }
  if (!(entry.input_density >= 0 && entry.input_density <= 1)) {
    refuse(entry, "input_density", "a share from 0 to 1", std::to_string(entry.input_density));
  }
}

LayerEnergy price(const Entry& entry, const Profile& profile, int64_t count) {
  check(entry);
  if (count < 1) throw std::invalid_argument("price: count: expected at least 1, got " + std::to_string(count));
  const ProfileData& data = profile.data();
  const DtypeCost cost = cost_of(data, entry.dtype);
  const Engine engine = engine_of(data);
  const Counts counts = engine(entry, data, cost, Corner::kValue);

  LayerEnergy layer;
  layer.name = entry.name;
  layer.op = entry.op;
  layer.dtype = entry.dtype;
  layer.pattern = entry.pattern;
  layer.layout = entry.layout;
  layer.kernel = entry.kernel;
  layer.shape = entry.shape;
  if (data.dataflow != "cache-tiled") layer.kernel = zeros_save(profile) ? "zero-skip" : "dense";
  if (data.dataflow == "fixed-nest") layer.mapping = mapping_of(entry, data, cost);
  layer.extrapolated_from = extrapolated_from(data, entry.dtype);
  if (entry.weight_elements > 0) {
    layer.density = static_cast<double>(entry.nnz) / static_cast<double>(entry.weight_elements);
  }
  layer.macs_issued = counts.macs_issued;
  layer.macs_effective = counts.macs_effective;
  for (size_t i = 0; i < data.levels.size(); ++i) {
    const Traffic& traffic = counts.levels[i];
    layer.bytes[data.levels[i].name] = (traffic.read_bits + traffic.write_bits + traffic.metadata_bits) / 8;
  }
  layer.latency_s = counts.seconds + data.launch_s.value;
  const double per = static_cast<double>(count);
  layer.parts = joules(counts, data, cost, Corner::kValue, per);
  layer.energy_j = layer.parts.total_j();
  layer.low_j = joules(engine(entry, data, cost, Corner::kLow), data, cost, Corner::kLow, per).total_j();
  layer.high_j = joules(engine(entry, data, cost, Corner::kHigh), data, cost, Corner::kHigh, per).total_j();
  return layer;
}

std::vector<std::string> candidates(const Entry& entry, const Profile& profile, std::string_view pattern) {
  if (profile.data().dataflow != "cache-tiled") return {zeros_save(profile) ? "zero-skip" : "dense"};
  const DeviceKind device = profile.kind() == "gpu" ? DeviceKind::kGpu : DeviceKind::kCpu;
  std::vector<std::string> names;
  for (const KernelCost& kernel : kernels()) {
    const bool fits = kernel.pattern != "block" || pattern == "block";
    const bool here = device == DeviceKind::kCpu || entry.dtype != "int8" || kernel.layout == "dense";  // sparse int8: CPUs alone
    if (kernel.offered && fits && here && kernel.supports(entry)) names.emplace_back(kernel.name);
  }
  return names;
}

bool zeros_save(const Profile& profile) {
  const ProfileData& data = profile.data();
  if (data.dataflow == "systolic") return true;
  if (data.dataflow == "fixed-nest") return data.nest->uses_zeros();
  if (!data.zeros) return false;
  const bool compressed =
      std::any_of(data.levels.begin(), data.levels.end(), [](const Level& level) { return level.compressed; });
  return compressed || data.zeros->gated_share.value < 1 || data.zeros->skips_cycles;
}

}  // namespace energy

EnergyReport estimate(const Workload& workload, const Profile& profile) {
  EnergyReport report;
  report.profile = profile.name();
  report.profile_hash = profile.hash();
  report.per = workload.per;
  report.batch = workload.batch;
  report.count = workload.count;
  report.unknown_ops = workload.unknown_ops;
  report.layer_list.reserve(workload.entries.size());
  // A plain sum in call order: selection compares exactly this number with the budget.
  for (const Entry& entry : workload.entries) {
    const LayerEnergy& layer = report.layer_list.emplace_back(energy::price(entry, profile, workload.count));
    report.parts += layer.parts;
    report.energy_j += layer.energy_j;
    report.low_j += layer.low_j;
    report.high_j += layer.high_j;
    report.latency_s += layer.latency_s;
  }
  for (LayerEnergy& layer : report.layer_list) {
    layer.share = report.energy_j > 0 ? layer.energy_j / report.energy_j : 0;
  }
  return report;
}

}  // namespace jouleprune
