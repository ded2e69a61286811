// Accelerators with a mapping: an entry as a nest of loops, counted in closed form, with zeros where the device uses
// them. Of the tilings offered the cheapest counts.
#include <algorithm>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "energy/engine.h"
#include "energy/nest/tilings.h"

namespace jouleprune::energy {
namespace {

using nest::Device, nest::DeviceLevel, nest::kInputs, nest::kOutputs, nest::kTensors, nest::kWeights;

bool runs_on_array(const Entry& entry) { return entry.macs > 0 && entry.rows > 0 && entry.cols > 0 && entry.n > 0; }

double share_of_weights(const Entry& entry) {
  return entry.weight_elements > 0 ? static_cast<double>(entry.nnz) / static_cast<double>(entry.weight_elements) : 1;
}

/// Of a tensor at every level: its format within the tiles of the level inside, and offsets to those tiles, a rank for
/// each level that keeps them.
void represent(const Device& device, const nest::Layout& layout, size_t tensor, nest::SparseDesign& design) {
  std::vector<size_t> dims(nest::kDims);
  std::iota(dims.begin(), dims.end(), size_t{0});
  size_t inside = 0;
  for (size_t i = device.levels.size(); i-- > 0;) {
    const DeviceLevel& storage = device.levels[i];
    if (!storage.keeps[tensor]) continue;
    if (!storage.formats[tensor]) {
      inside = 1;  // a plain tile is one rank
      continue;
    }
    auto& ranks = design.levels[layout.level_of[i]].representations[tensor].ranks;
    const int64_t bits = *storage.formats[tensor] == nest::Format::kBitmask ? 1 : storage.metadata_bits;
    ranks.push_back({*storage.formats[tensor], {dims}, bits, 0});
    while (ranks.size() <= inside) ranks.push_back({nest::Format::kOffsets, {dims}, 0, storage.metadata_bits});
    inside = ranks.size();
  }
}

nest::SparseDesign design_of(const Device& device, const nest::Layout& layout, const ProfileData& profile,
                             const Entry& entry) {
  nest::SparseDesign design;
  design.levels.resize(layout.mapping.levels.size());
  for (nest::SparseLevel& level : design.levels) level.representations.resize(kTensors);
  for (size_t i = 0; i < device.levels.size(); ++i) {
    nest::SparseLevel& level = design.levels[layout.level_of[i]];
    level.block_words = device.levels[i].block_words;
    level.read_pj = profile.levels[i].read_pj_per_bit.value;
    level.optimizations = device.levels[i].optimizations;
  }
  for (size_t tensor = 0; tensor < kTensors; ++tensor) represent(device, layout, tensor, design);
  design.densities = {nest::fixed_structured(share_of_weights(entry)), nest::fixed_structured(entry.input_density),
                      nest::fixed_structured(1)};
  design.gate_zero_operands = device.gate_zero_operands;
  return design;
}

/// One tiling of an entry, counted.
class Run {
 public:
  Run(const Entry& entry, const ProfileData& profile, const DtypeCost& cost, const nest::Problem& problem,
      const nest::Tiling& tiling)
      : entry_(entry),
        device_(*profile.nest),
        cost_(cost),
        layout_(nest::lay_out(problem, device_, tiling)),
        dense_(nest::count(layout_.workload, layout_.mapping)) {
    const double macs = static_cast<double>(entry.macs);
    counts_.ops = static_cast<double>(entry.ops);
    counts_.macs_issued = counts_.macs_charged = macs;
    counts_.macs_effective = macs * share_of_weights(entry) * entry.input_density;
    counts_.busy_macs = static_cast<double>(dense_.steps) * nest::units_of(device_);
    if (device_.uses_zeros()) {
      count_zeros(profile, macs);
    } else {
      for (size_t i = 0; i < device_.levels.size(); ++i) {
        for (size_t tensor = 0; tensor < kTensors; ++tensor) add_dense(i, tensor);
      }
    }
  }

  bool fits() const { return nest::fits(layout_, dense_, device_, cost_.bits); }
  const Counts& counts() const { return counts_; }

 private:
  /// Nothing is left of a weight without values that its outermost level stores as those only.
  bool nothing_kept() const {
    return device_.levels[0].formats[kWeights] && entry_.weight_elements > 0 && entry_.nnz == 0;
  }

  void add_dense(size_t level, size_t tensor) {
    const nest::LevelCounts& of_level = dense_.levels[layout_.level_of[level]];
    if (!of_level.tensors[tensor].kept) return;
    const nest::Accesses& accesses = of_level.tensors[tensor].accesses;
    add(level, tensor, {accesses.reads, accesses.fills, accesses.updates}, static_cast<double>(of_level.instances));
  }

  void add(size_t level, size_t tensor, const std::array<int64_t, 3>& accesses, double instances) {
    const auto [read, written] = nest::moved_bits(accesses, device_.levels[level], cost_.bits, instances);
    counts_.levels[level].read_bits += layout_.share[tensor] * read;
    counts_.levels[level].write_bits += layout_.share[tensor] * written;
  }

  void count_zeros(const ProfileData& profile, double macs) {
    const nest::SparseDesign design = design_of(device_, layout_, profile, entry_);
    const nest::SparseCounts sparse = nest::count_sparse(layout_.workload, layout_.mapping, dense_, design);
    const double all = static_cast<double>(dense_.macs());
    counts_.macs_charged = macs * static_cast<double>(sparse.computes) / all;
    // Gating keeps the cycle, wherever it happens; skipping saves it.
    const double taking_time = static_cast<double>(sparse.computes + sparse.gated_computes + sparse.unfed_computes) / all;
    counts_.macs_issued = macs * taking_time;
    counts_.busy_macs *= taking_time;
    for (size_t i = 0; i < device_.levels.size(); ++i) {
      const size_t level = layout_.level_of[i];
      for (size_t tensor = 0; tensor < kTensors; ++tensor) {
        if (tensor == kWeights && nothing_kept()) continue;
        if (!dense_.levels[level].tensors[tensor].kept) continue;
        const nest::SparseAccesses& accesses = sparse.levels[level][tensor];
        add(i, tensor, accesses.actual, accesses.instances);
        const auto& ranks = design.levels[level].representations[tensor].ranks;
        for (const auto& kind : accesses.format) {
          for (size_t rank = 0; rank < std::min(kind.size(), ranks.size()); ++rank) {
            const auto bits = static_cast<double>(kind[rank][0] * ranks[rank].metadata_bits +
                                                  kind[rank][1] * ranks[rank].payload_bits);
            counts_.levels[i].metadata_bits += layout_.share[tensor] * accesses.instances * bits;
          }
        }
      }
    }
  }

  const Entry& entry_;
  const Device& device_;
  const DtypeCost& cost_;
  nest::Layout layout_;
  nest::NestCounts dense_;
  Counts counts_;
};

/// Picojoules of what depends on the tiling.
double picojoules(const Counts& counts, const ProfileData& profile, const DtypeCost& cost, Corner corner) {
  double pj = counts.macs_charged * cost.mac_pj.at(corner);
  for (size_t i = 0; i < profile.levels.size(); ++i) {
    const Traffic& traffic = counts.levels[i];
    pj += (traffic.read_bits + traffic.metadata_bits) * profile.levels[i].read_pj_per_bit.at(corner) +
          traffic.write_bits * profile.levels[i].write_pj_per_bit.at(corner);
  }
  return pj + 1e12 * profile.static_w.at(corner) * seconds_of(counts, profile, cost.macs_s, corner);
}

/// Counts of every tiling that fits. They do not depend on the corner, and a price asks for three in a row: the last ones of
/// each thread are kept.
const std::vector<Counts>& counts_of_tilings(const Entry& entry, const ProfileData& profile, const DtypeCost& cost) {
  using Pair = std::array<int64_t, 2>;
  using Key = std::tuple<std::string, int, std::string, nest::Sizes, Pair, Pair, std::array<int64_t, 6>, double>;
  const nest::Problem problem = nest::problem_of(entry);
  const std::array<int64_t, 6> amounts = {entry.macs,           entry.ops, entry.weight_elements, entry.nnz,
                                          entry.input_elements, entry.output_elements};
  Key key{profile.hash,   cost.bits,        entry.op, problem.sizes,
          problem.stride, problem.dilation, amounts,  entry.input_density};
  thread_local Key known;
  thread_local std::vector<Counts> counts;
  if (!counts.empty() && key == known) return counts;
  counts.clear();
  const auto tilings = nest::tilings_for(problem, entry.op, profile, cost.bits);
  for (const nest::Tiling& tiling : tilings->choices) {
    const Run run(entry, profile, cost, problem, tiling);
    if (run.fits()) counts.push_back(run.counts());
  }
  if (counts.empty()) throw std::logic_error("count_nest: expected a tiling that fits, got none");
  known = std::move(key);
  return counts;
}

}  // namespace

Counts count_nest(const Entry& entry, const ProfileData& profile, const DtypeCost& cost, Corner corner) {
  if (!runs_on_array(entry)) return count_traffic(entry, profile, cost, corner);
  const Counts* best = nullptr;
  double least = std::numeric_limits<double>::infinity();
  // The least of each end of the intervals, so that none of the three falls when there is more to do.
  for (const Counts& counts : counts_of_tilings(entry, profile, cost)) {
    const double pj = picojoules(counts, profile, cost, corner);
    if (pj >= least && best != nullptr) continue;
    best = &counts;
    least = pj;
  }
  Counts chosen = *best;
  chosen.seconds = seconds_of(chosen, profile, cost.macs_s, corner);
  return chosen;
}

std::string mapping_of(const Entry& entry, const ProfileData& profile, const DtypeCost& cost) {
  if (!runs_on_array(entry)) return "";
  const auto tilings = nest::tilings_for(nest::problem_of(entry), entry.op, profile, cost.bits);
  return tilings->given ? "given" : "found (seed " + std::to_string(profile.nest->seed) + ")";
}

}  // namespace jouleprune::energy
