// Count engines: from one entry to counts on one profile. price() turns counts into joules.
#pragma once
#include <jouleprune/energy.h>

#include <array>
#include <cstddef>
#include <string>

#include "energy/profile_data.h"

namespace jouleprune::energy {

/// Bits that cross one level, whole call.
struct Traffic {
  double read_bits = 0, write_bits = 0;
  double metadata_bits = 0;  ///< indices, run lengths, code: read
};

/// What one call does, whole batch.
struct Counts {
  double macs_issued = 0, macs_effective = 0;
  double macs_charged = 0;  ///< effective + g x (issued - effective)
  double ops = 0;
  double index_decodes = 0;
  double busy_macs = 0;  ///< MACs that take time, at the peak of the type
  double seconds = 0;    ///< longest of computing and of each level's traffic
  std::array<Traffic, kMaxLevels> levels{};
};

/// Pure. Non-decreasing in entry.nnz, in the batch (n and the activations with it) and in the width of the type.
using Engine = Counts (*)(const Entry& entry, const ProfileData& profile, const DtypeCost& cost, Corner corner);

/// Accelerators: accesses per element and per MAC are coefficients of the profile; zeros are compressed and gated.
Counts count_ops(const Entry& entry, const ProfileData& profile, const DtypeCost& cost, Corner corner);
/// Systolic arrays with an input and a weight cache: levels are memory, cache, registers; zeros are skipped.
Counts count_systolic(const Entry& entry, const ProfileData& profile, const DtypeCost& cost, Corner corner);
/// Accelerators with a mapping: a nest of loops over levels of storage. The mapping is given by the profile or found.
Counts count_nest(const Entry& entry, const ProfileData& profile, const DtypeCost& cost, Corner corner);
/// Where the mapping of count_nest comes from: "given", or "found (seed 1)"; empty for entries without MACs.
std::string mapping_of(const Entry& entry, const ProfileData& profile, const DtypeCost& cost);
/// CPU and GPU: the kernel's counts, and the traffic of its blocked product through caches.
Counts count_tiles(const Entry& entry, const ProfileData& profile, const DtypeCost& cost, Corner corner);

/// An entry without MACs on an accelerator: its operands come from the outermost level, its results go there. Of an op
/// that is fused the first operand is at hand, and its result takes its way out anyway.
Counts count_traffic(const Entry& entry, const ProfileData& profile, const DtypeCost& cost, Corner corner);

/// Whether a call on `profile` runs at the peak of kernels that cannot use matrix units (DtypeCost::sparse_macs_s).
bool without_matrix_units(const Entry& entry, const ProfileData& profile, const DtypeCost& cost);

/// Time of `counts` at `macs_s` (0 = unknown) and the levels' bandwidths.
double seconds_of(const Counts& counts, const ProfileData& profile, const Quantity& macs_s, Corner corner);

}  // namespace jouleprune::energy
