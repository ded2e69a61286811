// Accelerators: E = sum of op_energy x count + sum of access_energy x count.
#include <algorithm>

#include "energy/engine.h"
#include "energy/run_length.h"

namespace jouleprune::energy {
namespace {

/// Elements that move, after fusion.
struct Moved {
  double weights, inputs, outputs;
};

Moved moved(const Entry& entry, const ProfileData& profile) {
  Moved elements{static_cast<double>(entry.weight_elements), static_cast<double>(entry.input_elements),
                 static_cast<double>(entry.output_elements)};
  const auto& fused = profile.fused_ops;
  if (std::find(fused.begin(), fused.end(), entry.op) != fused.end()) {
    // The result of the op before is at hand and takes its way out anyway; only further operands move.
    elements.inputs = std::max(elements.inputs - elements.outputs, 0.0);
    elements.outputs = 0;
  }
  return elements;
}

struct Macs {
  double issued;     ///< take their cycle
  double weighted;   ///< weight is not zero
  double effective;  ///< neither operand is zero
  double gate(double done, double g) const { return done + g * (issued - done); }
};

Macs macs_of(const Entry& entry, const std::optional<Zeros>& zeros) {
  const double dense = static_cast<double>(entry.macs);
  const double weighted = entry.weight_elements > 0
                              ? dense * static_cast<double>(entry.nnz) / static_cast<double>(entry.weight_elements)
                              : dense;
  return {zeros && zeros->skips_cycles ? weighted : dense, weighted, weighted * entry.input_density};
}

}  // namespace

Counts count_ops(const Entry& entry, const ProfileData& profile, const DtypeCost& cost, Corner corner) {
  const Macs macs = macs_of(entry, profile.zeros);
  const double g = profile.zeros ? profile.zeros->gated_share.at(corner) : 1;
  Counts counts;
  counts.macs_issued = counts.busy_macs = macs.issued;
  counts.macs_effective = macs.effective;
  counts.macs_charged = macs.gate(macs.effective, g);
  counts.ops = static_cast<double>(entry.ops);
  // The operand that is tested for zero is read before it is known.
  const double input_macs = macs.gate(macs.weighted, g);

  const Moved elements = moved(entry, profile);
  const double activation_bits = (elements.inputs + elements.outputs) * cost.bits;
  size_t home = 0;  // outermost level that sees the activations
  for (size_t i = 0; i < profile.levels.size(); ++i) {
    if (profile.levels[i].holds_activations && activation_bits <= profile.levels[i].capacity_bits) home = i;
  }
  for (size_t i = 0; i < profile.levels.size(); ++i) {
    const Level& level = profile.levels[i];
    StreamBits weights{elements.weights * cost.bits, 0}, inputs{elements.inputs * cost.bits, 0};
    if (level.compressed) {
      weights = run_length_bits(elements.weights, static_cast<double>(entry.nnz), cost.bits, profile.zeros->run_bits);
      inputs =
          run_length_bits(elements.inputs, elements.inputs * entry.input_density, cost.bits, profile.zeros->run_bits);
    }
    StreamBits outputs{elements.outputs * cost.bits, 0};
    if (i < home) inputs = outputs = {};
    const Accesses &element = level.per_element, &mac = level.per_mac;
    Traffic& traffic = counts.levels[i];
    traffic.read_bits = element.weight_reads.at(corner) * weights.values +
                        element.input_reads.at(corner) * inputs.values +
                        element.output_reads.at(corner) * outputs.values +
                        cost.bits * (mac.weight_reads.at(corner) + mac.output_reads.at(corner)) * counts.macs_charged +
                        cost.bits * mac.input_reads.at(corner) * input_macs;
    traffic.write_bits =
        element.weight_writes.at(corner) * weights.values + element.input_writes.at(corner) * inputs.values +
        element.output_writes.at(corner) * outputs.values +
        cost.bits * (mac.weight_writes.at(corner) + mac.output_writes.at(corner)) * counts.macs_charged +
        cost.bits * mac.input_writes.at(corner) * input_macs;
    traffic.metadata_bits = (element.weight_reads.at(corner) + element.weight_writes.at(corner)) * weights.metadata +
                            (element.input_reads.at(corner) + element.input_writes.at(corner)) * inputs.metadata;
  }
  counts.seconds = seconds_of(counts, profile, cost.macs_s, corner);
  return counts;
}

}  // namespace jouleprune::energy
