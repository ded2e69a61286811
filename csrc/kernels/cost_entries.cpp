// What each kernel does for one entry, in counts. The shares of peak are assumptions with a measured background; machines: one core
// of an Intel Sapphire Rapids (137 GFLOP/s of float32) and one of an AMD Zen 4 (118).
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include "energy/kernel_cost.h"
#include "energy/profile_data.h"

namespace jouleprune::energy {
namespace {

// Columns of the output that a kernel keeps in registers: the weights are read once per that many.
constexpr double kPanel = 64;
// Rows of the output that a dense kernel keeps in registers: an activation is loaded once per that many.
constexpr double kDenseRows = 6;
// Columns that one vector holds: fewer cost as much.
constexpr double kLanes = 16;
constexpr double kIndexBits = 32;

// torch's dense products, of the peak of their type (Linear layers of 768 to 3072, one core of an AMD Zen 4, docs/results/cpu_zen4.md):
// float32 71-85 % (oneDNN on Sapphire Rapids: 100-131 of 137 GFLOP/s), bfloat16 80-99 %, int8 350-400 of 450 GOP/s with quantising.
constexpr double kDenseShare = 0.8, kDenseShareBFloat16 = 0.9, kDenseShareInt8 = 0.8;
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
constexpr double kSmallBatch = 8, kDecodeMacs = 5.7, kSmallMacs = 2.6;
constexpr double kSmallRows = 16;      // output rows in the lanes of a vector
constexpr double kSmallIndexBits = 12; // one byte of index, and counts
// A cache moves whole lines, a GPU's caches sectors of them.
constexpr double kLineBits = 8 * 64, kSectorBits = 8 * 32;
// torch's CSR product: 0.40x / 0.95x / 1.9x of dense at 50 / 80 / 90 % zeros (one core of an AMD Zen 4).
constexpr double kVendorShare = 0.16;
constexpr double kVendorGatherShare = 0.03;
// 380 of 450 GOP/s of vpdpbusd at 50 % zeros, quantising and storing included; 250 at 90 % (one core of an AMD Zen 4).
constexpr double kInt8Share = 0.7;
// Small batches in int8, in the time of a multiply-add: per weight of the layer through the bitmap 3.9 / 7.5 / 12.4 at 1 / 4 / 8 batch
// rows, per kept weight through its quads 14 / 29 / 48 (2048 x 2048 in blocks of 1 x 4 at 50 and 90 % zeros, warm, of the 225 G/s of
// one core of an AMD Zen 4).
constexpr double kBitmapMacs = 2.7, kBitmapMacsPerRow = 1.2, kQuadMacs = 9.5, kQuadMacsPerRow = 4.8;
constexpr double kSmallQuadBits = 16;  // of index
// Matrix tiles of a CPU, of the rate of torch's dense product on them, quantising and storing included (one core of a Xeon with AMX,
// 768 x 768, n = 192): int8 112 us at 50 % zeros in blocks of 16 x 4 and 110 with all of the weight, of 113 million multiply-adds at
// 1.0 T/s; bfloat16 84 us in 32 x 32 and 210 in 16 x 1 at 0.76 T/s.
constexpr double kTileShareInt8 = 1.0, kGatheredShareInt8 = 0.5, kTileShare = 0.85, kGatheredShare = 0.35;
// Strips of 16 rows reach 94 / 80 % at 50 / 90 % zeros (one core of an AMD Zen 4); the low end, for the panels packed first.
constexpr double kBlockShare = 0.8;
// Assumed, as nothing of it was timed: blocks on a GPU reach what its sparse products reach (sparse_macs_s of the profile).
constexpr double kGpuBlockShare = 1;

double dense_share(const std::string& dtype) {
  if (dtype == "int8") return kDenseShareInt8;
  return dtype == "bfloat16" ? kDenseShareBFloat16 : kDenseShare;
}

double tiles(double size, double tile) { return std::max(1.0, std::ceil(size / tile)); }
double as_double(int64_t value) { return static_cast<double>(value); }

KernelCounts count_dense(const Entry& entry, DeviceKind) {
  const double bits = dtype_bits(entry.dtype);
  KernelCounts counts;
  counts.macs_issued = as_double(entry.macs);
  counts.weight_value_bits = as_double(entry.weight_elements) * bits;
  counts.peak_share = dense_share(entry.dtype);
  if (entry.macs == 0) {  // moves data only
    counts.activation_loads = as_double(entry.input_elements);
    counts.output_updates = as_double(entry.output_elements);
    return counts;
  }
  counts.weight_passes = tiles(as_double(entry.n), kPanel);
  counts.activation_loads =
      as_double(entry.cols) * as_double(entry.n) * as_double(entry.groups) * tiles(as_double(entry.rows), kDenseRows);
  counts.output_updates = as_double(entry.rows) * as_double(entry.n) * as_double(entry.groups);
  return counts;
}

/// Values, column indices and row offsets.
void add_csr_weight(const Entry& entry, KernelCounts& counts) {
  counts.weight_value_bits = as_double(entry.nnz) * dtype_bits(entry.dtype);
  counts.weight_index_bits = kIndexBits * (as_double(entry.nnz) + as_double(entry.rows) * as_double(entry.groups) + 1);
  counts.index_decodes = as_double(entry.nnz);
}

/// Expected columns of a strip of rows that hold a kept weight, over all strips, for weights kept at random.
double used_columns(const Entry& entry, double strip_rows) {
  const double weights = as_double(entry.weight_elements), strips = tiles(as_double(entry.rows), strip_rows);
  const double density = weights > 0 ? as_double(entry.nnz) / weights : 0;
  const double rows_per_strip = as_double(entry.rows) / strips;
  return as_double(entry.cols) * (1 - std::pow(1 - density, rows_per_strip)) * strips * as_double(entry.groups);
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

/// Layout csr: what the library runs for these sizes.
KernelCounts count_csr(const Entry& entry, DeviceKind device) {
  if (device == DeviceKind::kGpu || entry.dtype == "float64") return count_rows(entry);
  return entry.op == "linear" && as_double(entry.n) <= kSmallBatch ? count_small(entry) : count_code(entry);
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

/// A textbook CSR product: per kept weight a row of activations is read, in no order that suits caches, and a row of outputs updated
/// in memory.
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

/// Up to 8 batch rows in int8: a bitmap of all quads, or the kept quads one by one, whichever is faster.
KernelCounts count_small_int8(const Entry& entry) {
  const double n = as_double(entry.n), nnz = as_double(entry.nnz), all = as_double(entry.weight_elements);
  const double bitmap = all * (kBitmapMacs + kBitmapMacsPerRow * n), quads = nnz * (kQuadMacs + kQuadMacsPerRow * n);
  KernelCounts counts;
  counts.weight_value_bits = nnz * 8;
  counts.weight_index_bits = std::min(all / 4, nnz / 4 * kSmallQuadBits);
  counts.macs_issued = (bitmap < quads ? all : nnz) * n;
  counts.activation_loads = used_columns(entry, kSmallRows) * n;
  counts.output_updates = as_double(entry.rows) * n;
  counts.extra_bits = as_double(entry.cols) * n * 8;
  const double busy = std::min(bitmap, quads);
  counts.peak_share = busy > 0 && counts.macs_issued > 0 ? counts.macs_issued / busy : 1;
  return counts;
}

/// Blocks of a pattern "RxC"; zeros when it names none.
struct BlockSize {
  int64_t rows = 0, cols = 0;
};

BlockSize block_of(const std::string& pattern) {
  BlockSize size;
  const char* const end = pattern.data() + pattern.size();
  const auto [cross, error] = std::from_chars(pattern.data(), end, size.rows);
  const bool named = error == std::errc() && cross != end && *cross == 'x';
  return named && std::from_chars(cross + 1, end, size.cols).ec == std::errc() ? size : BlockSize{};
}

/// Blocks that are as high as matrix tiles waste none of them; 0 = no height.
bool of_tile_rows(const BlockSize& block) { return block.rows > 0 && block.rows % 16 == 0; }

/// Generated code over panels of 16 batch rows of bytes, or over 16 pixels of a padded raster: a vector of activations (four inputs
/// of each) is loaded once for the up to 30 rows of a group that use it, and the weight passes by once for up to eight vectors.
KernelCounts count_bsr_int8(const Entry& entry, DeviceKind) {
  if (entry.op == "linear" && as_double(entry.n) <= kSmallBatch) return count_small_int8(entry);
  constexpr double kQuad = 4, kGroupRows = 30, kWaveColumns = 128;
  const double n = as_double(entry.n), groups = as_double(entry.groups), nnz = as_double(entry.nnz);
  const double columns = kLanes * std::ceil(n / kLanes), blocks = nnz / kQuad;
  // A convolution quantises each pixel once, whatever the taps that read it.
  const double quantised = entry.op == "conv2d" ? as_double(entry.input_elements) : as_double(entry.cols) * n * groups;
  KernelCounts counts;
  counts.weight_value_bits = nnz * 8;
  counts.weight_index_bits = kIndexBits * (blocks + as_double(entry.rows) * groups + 1);
  counts.code_bits = 8 * 8 * blocks;  // about eight bytes an instruction
  counts.weight_passes = tiles(n, kWaveColumns);
  counts.macs_issued = nnz * columns;
  counts.activation_loads = used_columns(entry, kGroupRows) * columns;
  counts.output_updates = as_double(entry.rows) * n * groups;
  counts.extra_bits = quantised * 8;
  counts.peak_share = kInt8Share;
  if (entry.op == "linear") {  // on tiles: kept blocks, gathered, or all of the weight
    const double all = as_double(entry.weight_elements);
    const bool gathered = of_tile_rows(block_of(entry.pattern)) && nnz / kGatheredShareInt8 < all / kTileShareInt8;
    counts.matrix_macs = (gathered ? nnz : all) * columns;
    counts.matrix_share = gathered ? kGatheredShareInt8 : kTileShareInt8;
  }
  return counts;
}

/// Strips of 16 outputs and 128 batch rows, activations turned once (cuda/bsr/strip_product.h): per kept input of a strip one row of
/// activations into shared memory. By multiply-adds: the share that a profile's sparse products have of its tensor cores is theirs, too.
KernelCounts count_gpu_bsr(const Entry& entry) {
  constexpr double kStrip = 16, kBatchRows = 128;
  const double n = as_double(entry.n), nnz = as_double(entry.nnz);
  const auto height = as_double(std::max<int64_t>(block_of(entry.pattern).rows, 1));
  KernelCounts counts;
  counts.weight_value_bits = nnz * dtype_bits(entry.dtype);
  counts.weight_index_bits = kIndexBits * nnz / height;  // at most one for each column of a block
  counts.index_decodes = nnz / height;
  counts.weight_passes = tiles(n, kBatchRows);
  counts.macs_issued = nnz * n;
  counts.activation_loads = nnz / std::min(height, kStrip) * n;
  counts.output_updates = as_double(entry.rows) * n;
  counts.extra_bits = as_double(entry.cols) * n * dtype_bits(entry.dtype);
  counts.peak_share = kGpuBlockShare;
  return counts;
}

/// Strips of output rows along the vector (64 bytes of sums): per kept input of a strip, one load of weights and one multiply-add per
/// batch row, 24 of which keep their sums in registers while the weights pass. Blocks of other heights run as csr.
KernelCounts count_bsr(const Entry& entry, DeviceKind device) {
  if (device == DeviceKind::kGpu) return count_gpu_bsr(entry);
  constexpr double kBatchRows = 24;
  const int64_t strip = entry.dtype == "float64" ? 8 : 16;
  const BlockSize block = block_of(entry.pattern);
  if (block.rows % strip != 0) return count_csr(entry, device);
  const double n = as_double(entry.n), nnz = as_double(entry.nnz), rows = as_double(strip);
  KernelCounts counts;
  counts.weight_value_bits = nnz * dtype_bits(entry.dtype);
  counts.weight_index_bits = kIndexBits * nnz / rows;
  counts.weight_passes = tiles(n, kBatchRows);
  counts.macs_issued = nnz * n;
  counts.activation_loads = nnz / rows * n;
  counts.output_updates = as_double(entry.rows) * n;
  counts.extra_bits = as_double(entry.cols) * n * dtype_bits(entry.dtype);
  counts.peak_share = kBlockShare;
  if (device == DeviceKind::kCpu && entry.dtype == "bfloat16" && of_tile_rows(block)) {
    counts.matrix_macs = nnz * kLanes * std::ceil(n / kLanes);
    counts.matrix_share = block.cols > 0 && block.cols % 32 == 0 ? kTileShare : kGatheredShare;
  }
  return counts;
}

bool runs_int8(const Entry& entry) { return (entry.op == "linear" || entry.op == "conv2d") && entry.dtype == "int8"; }

bool runs_anything(const Entry&) { return true; }

bool any_of(const std::string& word, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(), [&](const char* known) { return word == known; });
}

bool is_float(const Entry& entry) { return any_of(entry.dtype, {"float32", "float64", "bfloat16", "float16"}); }

bool runs_csr(const Entry& entry) {
  return any_of(entry.op, {"linear", "conv1d", "conv2d", "lstm", "gru"}) && is_float(entry);
}

bool runs_bsr(const Entry& entry) { return entry.op == "linear" && is_float(entry); }

constexpr std::array<KernelCost, 5> kKernels = {{
    {"dense", "dense", "dense", count_dense, runs_anything, true},
    {"csr", "csr", "unstructured", count_csr, runs_csr, true},
    {"csr-vendor", "csr", "unstructured", count_csr_vendor, runs_csr, false},
    {"bsr", "bsr", "block", count_bsr, runs_bsr, true},
    {"bsr-int8", "bsr", "block", count_bsr_int8, runs_int8, true},
}};

}  // namespace

std::span<const KernelCost> kernels() { return kKernels; }

const KernelCost& find_kernel(std::string_view name) {
  std::string known;
  for (const KernelCost& kernel : kKernels) {
    if (kernel.name == name) return kernel;
    known += (known.empty() ? "" : ", ") + std::string(kernel.name);
  }
  throw std::invalid_argument("kernel: expected one of " + known + ", got '" + std::string(name) + "'");
}

}  // namespace jouleprune::energy
