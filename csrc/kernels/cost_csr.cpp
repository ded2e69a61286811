// What kernels of layout csr do for one entry. The shares of peak are assumptions with a measured background; machines: one core of an
// Intel Sapphire Rapids (137 GFLOP/s of float32) and one of an AMD Zen 4 (118).
#include "kernels/cost_counts.h"

namespace jouleprune::energy {
namespace {

// One vector load per multiply-add: such row kernels reach 21-38 %; the low end, for the transposes that come first.
constexpr double kRowShare = 0.22;
// Gathers: 4-6 G elements/s of 68 G multiply-adds/s.
constexpr double kRowGatherShare = 0.065;
// Generated code reaches 51-58 % on Sapphire Rapids and 85-92 % on Zen 4 down to 30 % of the weights; below, the loads of
// activations, which are counted apart, take over.
constexpr double kCodeShare = 0.6;
// Pairs of bfloat16: 130-141 of 216 GFLOP/s of kept weights at 50 % zeros, where a pair holds 1.33 of them on average, so 0.9 to 0.98
// of the peak (one core of an AMD Zen 4); the low end, less what float32 loses on the other machine.
constexpr double kPairShare = 0.7;
constexpr double kCodeRows = 30;       // output rows that share an activation load
constexpr double kCodeBitsPerWeight = 8 * 7.3;
constexpr double kCodeBitsPerLoad = 8 * 7;
// Small batches: decoding a weight takes the time of 5.7 multiply-adds and each batch row that of 2.6 (4096 x 4096, warm, Zen 4).
constexpr double kDecodeMacs = 5.7, kSmallMacs = 2.6;
constexpr double kSmallIndexBits = 12; // one byte of index, and counts
// A cache moves whole lines, a GPU's caches sectors of them.
constexpr double kLineBits = 8 * 64, kSectorBits = 8 * 32;
// torch's CSR product: 0.40x / 0.95x / 1.9x of dense at 50 / 80 / 90 % zeros (one core of an AMD Zen 4).
constexpr double kVendorShare = 0.16;
constexpr double kVendorGatherShare = 0.03;

/// Values, column indices and row offsets.
void add_csr_weight(const Entry& entry, KernelCounts& counts) {
  counts.weight_value_bits = as_double(entry.nnz) * dtype_bits(entry.dtype);
  counts.weight_index_bits = kIndexBits * (as_double(entry.nnz) + as_double(entry.rows) * as_double(entry.groups) + 1);
  counts.index_decodes = as_double(entry.nnz);
}

/// Row by row: activations are transposed (a convolution's unfolded) once into panels of 64 columns; per panel, one vector load
/// and one multiply-add per kept weight and vector, sums in registers. A single column is gathered instead.
KernelCounts count_rows(const Entry& entry) {
  const double bits = dtype_bits(entry.dtype), n = as_double(entry.n), groups = as_double(entry.groups);
  const bool gathers = entry.n <= 1;
  const double columns = gathers ? n : kLanes * std::ceil(n / kLanes);
  KernelCounts counts;
  add_csr_weight(entry, counts);
  counts.macs_issued = counts.activation_loads = as_double(entry.nnz) * columns;
  counts.weight_passes = tiles(n, kPanel);
  counts.index_decodes *= counts.weight_passes;
  counts.output_updates = as_double(entry.rows) * n * groups;
  counts.extra_bits = gathers && entry.op == "linear" ? 0 : as_double(entry.cols) * n * groups * bits;
  counts.peak_share = gathers ? kRowGatherShare : kRowShare;
  return counts;
}

/// Up to 8 batch rows: 16 output rows in the lanes of a vector, the inputs of a block of columns in registers, the weights streamed
/// once whatever the batch.
KernelCounts count_small(const Entry& entry) {
  const double n = as_double(entry.n), nnz = as_double(entry.nnz);
  KernelCounts counts;
  counts.weight_value_bits = nnz * dtype_bits(entry.dtype);
  counts.weight_index_bits = nnz * kSmallIndexBits;
  counts.macs_issued = nnz * n;
  counts.activation_loads = used_columns(entry, kSmallRows) * n;
  counts.output_updates = as_double(entry.rows) * n * as_double(entry.groups);
  counts.peak_share = n > 0 ? n / (kDecodeMacs + kSmallMacs * n) : 1;
  return counts;
}

/// Pairs of neighbouring inputs that hold a kept weight, for weights kept at random.
double kept_pairs(const Entry& entry) {
  const double weights = as_double(entry.weight_elements);
  const double density = weights > 0 ? as_double(entry.nnz) / weights : 0;
  return weights / 2 * density * (2 - density);
}

/// Generated code: per vector of columns one multiply-add per kept weight (of bfloat16: one for both of a pair), whose value is read
/// with it, and one activation load per column that a group of rows uses. No index is read; the code itself is.
KernelCounts count_code(const Entry& entry) {
  const bool pairs = entry.dtype == "bfloat16";
  const double steps = pairs ? kept_pairs(entry) : as_double(entry.nnz);
  const double n = as_double(entry.n), groups = as_double(entry.groups);
  const double vectors = std::ceil(n / kLanes), loads = used_columns(entry, kCodeRows);
  KernelCounts counts;
  counts.weight_value_bits = steps * std::max(32, dtype_bits(entry.dtype));
  counts.code_bits = steps * kCodeBitsPerWeight + loads * kCodeBitsPerLoad;
  counts.weight_passes = std::max(1.0, vectors);
  counts.macs_issued = (pairs ? 2 : 1) * steps * vectors * kLanes;
  counts.activation_loads = loads * vectors * kLanes;
  counts.output_updates = as_double(entry.rows) * n * groups;
  counts.extra_bits = as_double(entry.cols) * n * groups * dtype_bits(entry.dtype);
  counts.peak_share = pairs ? kPairShare : kCodeShare;
  return counts;
}

/// What a textbook CSR product brings into a cache that does not hold all activations. A Linear layer's lie sample by sample: each
/// output row sweeps over every sample, and of a line that holds kept inputs all words come, so that `1 - (1 - density)^(words of a
/// line)` of the activations pass per output row. A convolution's are unfolded, pixel beside pixel: each kept weight reads a row.
double gathered_bits(const Entry& entry, DeviceKind device) {
  const double bits = dtype_bits(entry.dtype), n = as_double(entry.n), weights = as_double(entry.weight_elements);
  if (entry.op.starts_with("conv")) return as_double(entry.nnz) * n * bits;
  const double words = std::max(1.0, (device == DeviceKind::kGpu ? kSectorBits : kLineBits) / bits);
  const double density = weights > 0 ? as_double(entry.nnz) / weights : 0;
  return weights * n * bits * (1 - std::pow(1 - density, words));
}

}  // namespace

double used_columns(const Entry& entry, double strip_rows) {
  const double weights = as_double(entry.weight_elements), strips = tiles(as_double(entry.rows), strip_rows);
  const double density = weights > 0 ? as_double(entry.nnz) / weights : 0;
  const double rows_per_strip = as_double(entry.rows) / strips;
  return as_double(entry.cols) * (1 - std::pow(1 - density, rows_per_strip)) * strips * as_double(entry.groups);
}

KernelCounts count_csr(const Entry& entry, DeviceKind device) {
  if (device == DeviceKind::kGpu || entry.dtype == "float64") return count_rows(entry);
  return entry.op == "linear" && entry.n <= kSmallBatch ? count_small(entry) : count_code(entry);
}

KernelCounts count_csr_vendor(const Entry& entry, DeviceKind device) {
  const double bits = dtype_bits(entry.dtype), n = as_double(entry.n), groups = as_double(entry.groups);
  const bool single = entry.n <= 1;
  const double columns = single ? n : kLanes * std::ceil(n / kLanes);
  KernelCounts counts;
  add_csr_weight(entry, counts);
  counts.macs_issued = counts.activation_loads = as_double(entry.nnz) * columns;
  counts.output_updates = as_double(entry.rows) * n * groups + as_double(entry.nnz) * columns;
  counts.extra_bits = as_double(entry.cols) * n * groups * bits;
  counts.gathered_bits = gathered_bits(entry, device);
  counts.peak_share = single ? kVendorGatherShare : kVendorShare;
  return counts;
}

}  // namespace jouleprune::energy
