// What the files of cost entries share: sizes of the kernels, and the counts of each (cost_entries.cpp lists them).
#pragma once
#include <algorithm>
#include <cmath>

#include "energy/kernel_cost.h"
#include "energy/profile_data.h"

namespace jouleprune::energy {

// Columns of the output that a kernel keeps in registers: the weights are read once per that many.
constexpr double kPanel = 64;
// Columns that one vector holds: fewer cost as much.
constexpr double kLanes = 16;
constexpr double kIndexBits = 32;
// Output rows in the lanes of the vectors of kernels for small batches.
constexpr double kSmallRows = 16;

inline double tiles(double size, double tile) { return std::max(1.0, std::ceil(size / tile)); }
inline double as_double(int64_t value) { return static_cast<double>(value); }

/// Expected columns of a strip of rows that hold a kept weight, over all strips, for weights kept at random.
double used_columns(const Entry& entry, double strip_rows);

/// Layout csr: what the library runs for these sizes.
KernelCounts count_csr(const Entry& entry, DeviceKind device);
/// A textbook CSR product: per kept weight a row of activations is read, in no order that suits caches, and a row of outputs updated
/// in memory.
KernelCounts count_csr_vendor(const Entry& entry, DeviceKind device);
/// Layout bsr. Blocks that no kernel for blocks serves run as csr.
KernelCounts count_bsr(const Entry& entry, DeviceKind device);
KernelCounts count_bsr_int8(const Entry& entry, DeviceKind device);

}  // namespace jouleprune::energy
