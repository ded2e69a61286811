// CPU and GPU: traffic of a blocked product W[rows, cols] x X[cols, n] through a hierarchy of caches.
#include <algorithm>
#include <cmath>
#include <optional>

#include "energy/engine.h"
#include "energy/kernel_cost.h"
#include "energy/timing.h"

namespace jouleprune::energy {
namespace {

/// A call's operands: bits over all groups, sizes of one group.
struct Operands {
  double weights = 0, metadata = 0, inputs = 0, outputs = 0;
  double rows = 0, cols = 0, n = 0, groups = 1;
};

struct Repeats {
  double weights = 1, inputs = 1;
  double spills = 0;  ///< times that partial sums go out and come back
};

double traffic_of(const Operands& operands, const Repeats& repeats) {
  return repeats.weights * (operands.weights + operands.metadata) + repeats.inputs * operands.inputs +
         2 * repeats.spills * operands.outputs;
}

/// How often operands pass a level whose inner neighbour holds `capacity` bits: the cheapest of three loop orders.
/// Each order's traffic is non-decreasing in every operand's size, and so is their minimum.
Repeats blocked(const Operands& operands, int bits, double capacity) {
  const double weights = operands.weights + operands.metadata, half = capacity / 2;
  const auto passes = [&](double size) { return std::max(1.0, std::ceil(size / operands.groups / half)); };
  const auto total = [&](const Repeats& repeats) { return traffic_of(operands, repeats); };
  const Repeats inputs_stay{passes(operands.inputs), 1}, weights_stay{1, passes(weights)};
  Repeats best = total(inputs_stay) <= total(weights_stay) ? inputs_stay : weights_stay;
  const double side = std::floor(std::sqrt(capacity / (3.0 * bits)));  // three square blocks fill the cache
  if (side >= 1 && operands.rows > 0) {
    const auto tiles = [&](double size) { return std::max(1.0, std::ceil(size / side)); };
    const Repeats squares{tiles(operands.n), tiles(operands.rows), tiles(operands.cols) - 1};
    if (total(squares) < total(best)) best = squares;
  }
  return best;
}

/// The same for a kernel that gathers activations: where they do not stay in the inner neighbour, what its loads bring in, unless the
/// blocked order moves even more.
Repeats gathered(const Operands& operands, int bits, double capacity, double gathered_bits) {
  const Repeats best = blocked(operands, bits, capacity);
  if (operands.inputs <= 0 || operands.inputs / operands.groups <= capacity / 2) return best;
  const Repeats loads{1, gathered_bits / operands.inputs};
  return traffic_of(operands, loads) > traffic_of(operands, best) ? loads : best;
}

Operands operands_of(const Entry& entry, const KernelCounts& kernel, int bits) {
  Operands operands{kernel.weight_value_bits,
                    kernel.weight_index_bits + kernel.code_bits,
                    static_cast<double>(entry.input_elements) * bits,
                    static_cast<double>(entry.output_elements) * bits,
                    static_cast<double>(entry.rows),
                    static_cast<double>(entry.cols),
                    static_cast<double>(entry.n),
                    static_cast<double>(std::max<int64_t>(entry.groups, 1))};
  if (entry.op == "matmul") {  // two activations: the left one takes the weight's place
    const double left = std::min(operands.rows * operands.cols * operands.groups * bits, operands.inputs);
    operands.weights += left;
    operands.inputs -= left;
  }
  return operands;
}

/// Outermost level that sees the activations: a call's inputs and outputs stay in a cache of which they fill <= half.
size_t home_of(const Entry& entry, const ProfileData& profile, int bits) {
  const double activations =
      (static_cast<double>(entry.input_elements) + static_cast<double>(entry.output_elements)) * bits;
  size_t home = 0;
  for (size_t i = 1; i < profile.levels.size(); ++i) {
    if (activations <= profile.levels[i].capacity_bits / 2) home = i;
  }
  return home;
}

struct Speed {
  double macs = 0, share = 1;  ///< issued, and of which peak
  bool own_peak = false;       ///< sparse_macs_s, not macs_s
};

/// Sparse layouts have a peak of their own where the profile has matrix units, but for kernels that run on these when they are
/// faster there.
Speed speed_of(const KernelCost& kernel, const KernelCounts& done, const DtypeCost& cost) {
  const Speed plain{done.macs_issued, done.peak_share, kernel.layout != "dense" && cost.sparse_macs_s.value > 0};
  if (!plain.own_peak || done.matrix_share <= 0) return plain;
  const Speed matrix{done.matrix_macs, done.matrix_share, false};
  const auto seconds = [](const Speed& speed, double peak) { return speed.macs / (speed.share * peak); };
  return seconds(matrix, cost.macs_s.value) < seconds(plain, cost.sparse_macs_s.value) ? matrix : plain;
}

}  // namespace

bool without_matrix_units(const Entry& entry, const ProfileData& profile, const DtypeCost& cost) {
  if (profile.dataflow != "cache-tiled" || entry.layout == "dense" || cost.sparse_macs_s.value <= 0) return false;
  const KernelCost& kernel = find_kernel(entry.kernel);
  return speed_of(kernel, kernel.count(entry, profile.kind == "gpu" ? DeviceKind::kGpu : DeviceKind::kCpu), cost).own_peak;
}

Counts count_tiles(const Entry& entry, const ProfileData& profile, const DtypeCost& cost, Corner corner) {
  const KernelCost& kernel = find_kernel(entry.kernel);
  const KernelCounts done = kernel.count(entry, profile.kind == "gpu" ? DeviceKind::kGpu : DeviceKind::kCpu);
  double with_weight = static_cast<double>(entry.macs);
  if (entry.weight_elements > 0) {
    with_weight = with_weight * static_cast<double>(entry.nnz) / static_cast<double>(entry.weight_elements);
  }
  Counts counts;
  // Nothing gates zeros here: what is issued is charged (g = 1).
  const Speed speed = speed_of(kernel, done, cost);
  counts.macs_issued = counts.macs_charged = speed.macs;
  counts.macs_effective = with_weight * entry.input_density;
  counts.ops = static_cast<double>(entry.ops);
  counts.index_decodes = done.index_decodes;
  counts.busy_macs = speed.macs / speed.share;

  const Operands operands = operands_of(entry, done, cost.bits);
  const bool left_moves = entry.op == "matmul";
  const size_t last = profile.levels.size() - 1, home = home_of(entry, profile, cost.bits);
  for (size_t i = 0; i <= last; ++i) {
    Traffic& traffic = counts.levels[i];
    if (i == last) {  // between the innermost cache and the registers: as the kernel says
      traffic.read_bits = operands.weights * done.weight_passes + done.activation_loads * cost.bits;
      traffic.write_bits = done.output_updates * cost.bits;
      traffic.metadata_bits = operands.metadata * done.weight_passes;
      continue;
    }
    const double inner_bits = profile.levels[i + 1].capacity_bits;
    const Repeats repeats = done.gathered_bits > 0 ? gathered(operands, cost.bits, inner_bits, done.gathered_bits)
                                                   : blocked(operands, cost.bits, inner_bits);
    const bool activations = i >= home;
    if (activations || !left_moves) traffic.read_bits += repeats.weights * operands.weights;
    traffic.metadata_bits = repeats.weights * operands.metadata;
    if (activations) {
      // Spilled sums are priced as reads both ways, so that the order of least traffic is that of least energy.
      traffic.read_bits += repeats.inputs * operands.inputs + 2 * repeats.spills * operands.outputs;
      traffic.write_bits = operands.outputs;
    }
  }
  // Packed panels are written and read once, in the cache outside the innermost one (they are made to fit there).
  Traffic& panels = counts.levels[last >= 2 ? last - 1 : last];
  panels.read_bits += done.extra_bits;
  panels.write_bits += done.extra_bits;
  const std::optional<double> measured = family_seconds(entry, profile, done, corner);
  counts.seconds = measured ? *measured : seconds_of(counts, profile, speed.own_peak ? cost.sparse_macs_s : cost.macs_s, corner);
  return counts;
}

}  // namespace jouleprune::energy
