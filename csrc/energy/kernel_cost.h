// What one kernel does for one entry, in counts: kernels fill it in, engines price it.
#pragma once
#include <jouleprune/energy.h>

#include <span>
#include <string>

namespace jouleprune::energy {

/// Batch rows up to which sparse Linear layers run their kernels for small batches.
inline constexpr int64_t kSmallBatch = 8;

/// Counts of one call run by one kernel, whole batch.
struct KernelCounts {
  double macs_issued = 0;        ///< multiply-accumulates the kernel executes, zeros included
  double weight_value_bits = 0;  ///< kept values (and zero fill-in) streamed once
  double weight_index_bits = 0;  ///< metadata streamed once: column indices, row offsets, run lengths
  double code_bits = 0;          ///< generated code streamed once
  double weight_passes = 1;      ///< times the weight stream is read (column tiles of the output)
  double activation_loads = 0;   ///< activation elements loaded by the inner loop
  double output_updates = 0;     ///< output elements written (and read back) by the inner loop
  double index_decodes = 0;      ///< indices decoded
  double extra_bits = 0;         ///< moved besides operands: packed panels, transposes; written and read once each
  double gathered_bits = 0;      ///< kernels without blocking: activations that their loads bring in, whole lines of a cache,
                                 ///< wherever a cache does not hold all activations; 0: blocked for the caches
  double peak_share = 1;         ///< share of the device's peak the inner loop reaches when nothing else limits it
  double matrix_macs = 0;        ///< multiply-accumulates it would execute on the matrix units of a CPU
  double matrix_share = 0;       ///< as peak_share, of the peak of those; 0: it cannot run on them
};

/// Where a kernel runs: the library has one of a name for each.
enum class DeviceKind { kCpu, kGpu };

/// A kernel's cost entry. Pure functions; `count` must be non-decreasing in entry.nnz and entry.n.
struct KernelCost {
  std::string_view name;     ///< "dense", "csr", "csr-vendor", ...
  std::string_view layout;   ///< layout it runs: "dense", "csr"
  std::string_view pattern;  ///< least structured pattern it accepts: "dense", "unstructured", "block"
  KernelCounts (*count)(const Entry& entry, DeviceKind device);
  bool (*supports)(const Entry& entry);  ///< op and dtype it can run
  bool offered = true;                   ///< the planner may choose it; false: priced only when an entry names it
};

/// Every kernel of the library, dense first. Defined next to the kernels: csrc/kernels/cost_entries.cpp.
std::span<const KernelCost> kernels();

/// Throws std::invalid_argument naming the kernel and those that exist.
const KernelCost& find_kernel(std::string_view name);

}  // namespace jouleprune::energy
