// What kernels of layout bsr do for one entry, in floats and in int8. The shares of peak are assumptions with a measured background.
#include <charconv>

#include "kernels/cost_counts.h"

namespace jouleprune::energy {
namespace {

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

}  // namespace

/// Generated code over panels of 16 batch rows of bytes, or over 16 pixels of a padded raster: a vector of activations (four inputs
/// of each) is loaded once for the up to 30 rows of a group that use it, and the weight passes by once for up to eight vectors.
KernelCounts count_bsr_int8(const Entry& entry, DeviceKind) {
  if (entry.op == "linear" && entry.n <= kSmallBatch) return count_small_int8(entry);
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
    // The pattern of a converted layer is read off its blocks (record/sparse.cpp): one row and none kept are of every pattern.
    const bool alike = of_tile_rows(block_of(entry.pattern)) || entry.rows <= 1 || entry.nnz == 0;
    const bool gathered = alike && nnz / kGatheredShareInt8 < all / kTileShareInt8;
    counts.matrix_macs = (gathered ? nnz : all) * columns;
    counts.matrix_share = gathered ? kGatheredShareInt8 : kTileShareInt8;
  }
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

}  // namespace jouleprune::energy
