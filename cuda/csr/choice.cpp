#include "csr/choice.h"

#include <algorithm>
#include <limits>

namespace jouleprune::cuda::csr {
namespace {

constexpr double kLaunch = 2.5e-6;      // seconds from one kernel of a stream to the next
constexpr double kReached = 0.8;        // share of the memory's rate that streams reach
constexpr double kSector = 32;          // bytes that a gathered element costs
constexpr double kHeaderShare = 0.172;  // bytes of headers per weight of bitmap tiles (tiles.h)

double ceil_div(double a, double b) { return static_cast<double>(static_cast<int64_t>((a + b - 1) / b)); }

// What a launch takes: the slowest of its resources.
double slowest(const Machine& m, double dram, double l2, double tensor_flops, double fma_flops) {
  return std::max({dram / (kReached * m.dram_bytes), l2 / (kReached * m.l2_bytes), tensor_flops / m.tensor_flops,
                   fma_flops / m.fma_flops});
}

}  // namespace

Machine machine_of(int major, int minor, int multiprocessors, double clock_hz, double dram_bytes_per_s) {
  // 16-bit multiply-adds of a multiprocessor and clock, by mma.sync with sums in float32. Data-centre chips have twice
  // the rate of the others; Hopper and later reach about 0.6 of their peak without wgmma.
  const bool data_centre = (major == 8 && minor == 0) || major == 9 || major == 10;
  const double fma_per_clock = major < 8 ? 512 : data_centre ? (major == 8 ? 1024 : 1228) : 512;
  const double rate = multiprocessors * clock_hz;
  const double lanes = major < 8 || (major == 8 && minor == 0) ? 64 : 128;
  return {dram_bytes_per_s, 64.0 * rate, 2 * fma_per_clock * rate, 2 * lanes * rate, multiprocessors};
}

double predicted_s(Kernel kernel, const Shape& s, const Machine& m) {
  const auto rows = static_cast<double>(s.rows), cols = static_cast<double>(s.cols), nnz = static_cast<double>(s.nnz);
  const auto n = static_cast<double>(s.n), size = static_cast<double>(size_of(s.type));
  const bool is_16_bit = size == 2;
  const double activations = (rows + cols) * n * size;
  // Turning activations feature-major reads and writes them once.
  const double turn_in = kLaunch + slowest(m, 2 * cols * n * size, 0, 0, 0);
  const double turn_out = kLaunch + slowest(m, 2 * rows * n * size, 0, 0, 0);
  switch (kernel) {
    case Kernel::kByEntries: {
      const double passes = ceil_div(n, 8);
      return kLaunch +
             slowest(m, nnz * (size + 4) + activations, passes * nnz * (size + 4) + nnz * n * kSector, 0, 2 * nnz * n);
    }
    case Kernel::kByTokens: {
      const double passes = ceil_div(n, 128), gathered = nnz * std::max(n * size, kSector);
      return turn_in + turn_out + kLaunch +
             slowest(m, nnz * (size + 4) + activations, passes * nnz * (size + 4) + gathered, 0, 2 * nnz * n);
    }
    case Kernel::kTiles: {
      if (!is_16_bit) {
        return std::numeric_limits<double>::infinity();
      }
      const double weight = rows * cols * kHeaderShare + 2 * nnz, passes = ceil_div(n, 64);
      const double tokens = std::max(8.0, n), strips_sharing = n <= 16 ? 16 : 64;
      return turn_in + kLaunch +
             slowest(m, weight + activations, passes * weight + rows / strips_sharing * cols * tokens * size,
                     2 * rows * cols * tokens, 0);
    }
    case Kernel::kDense: {
      const double flops = 2 * rows * cols * std::max(8.0, n);
      return kLaunch +
             slowest(m, rows * cols * size + activations, 0, is_16_bit ? flops : 0, is_16_bit ? 0 : flops * size / 4);
    }
  }
  return std::numeric_limits<double>::infinity();
}

Kernel choose(const Shape& shape, const Machine& machine) {
  Kernel best = Kernel::kDense;
  for (const auto kernel : {Kernel::kByEntries, Kernel::kByTokens, Kernel::kTiles}) {
    best = predicted_s(kernel, shape, machine) < predicted_s(best, shape, machine) ? kernel : best;
  }
  return best;
}

bool gradient_by_tiles(const Shape& s, int64_t tiles) {
  constexpr int64_t kEntriesPerTile =
      64;  // each reads two rows of the batch; a tile reads 128, and multiplies 64 times as much
  return size_of(s.type) == 2 && s.nnz >= kEntriesPerTile * tiles;
}

}  // namespace jouleprune::cuda::csr
