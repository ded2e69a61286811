#include "csr/choice.h"

#include <algorithm>
#include <limits>

#include "csr/roofline.h"

namespace jouleprune::cuda::csr {
namespace {

constexpr double kSector = 32;          // bytes that a gathered element costs
constexpr double kHeaderShare = 0.172;  // bytes of headers per weight of bitmap tiles (tiles.h)

// What a launch takes: the slowest of its resources.
double slowest(const Machine& m, double dram, double l2, double tensor_flops, double fma_flops) {
  return std::max({moved(m, dram, l2), tensor_flops / m.tensor_flops, fma_flops / m.fma_flops});
}

}  // namespace

Machine machine_of(int major, int minor, int multiprocessors, double clock_hz, double dram_bytes_per_s) {
  // 16-bit multiply-adds of a multiprocessor and clock, by mma.sync with sums in float32. Data-centre chips have twice
  // the rate of the others; Hopper and later reach about 0.6 of their peak without wgmma.
  const bool data_centre = (major == 8 && minor == 0) || major == 9 || major == 10;
  const double fma_per_clock = major < 8 ? 512 : data_centre ? (major == 8 ? 1024 : 1228) : 512;
  const double rate = multiprocessors * clock_hz;
  const double lanes = major < 8 || (major == 8 && minor == 0) ? 64 : 128;
  const double tensor_flops = 2 * fma_per_clock * rate;
  const double dense_flops = major == 9 ? 2 * 2048 * rate : major == 10 ? 2 * 4096 * rate : tensor_flops;
  const bool has_fp8 = major > 8 || (major == 8 && minor == 9);
  return {dram_bytes_per_s, 64.0 * rate, tensor_flops,    2 * lanes * rate,
          multiprocessors,  dense_flops, 2 * dense_flops, has_fp8 ? 2 * dense_flops : 0.0};
}

const char* name_of(Kernel kernel) {
  switch (kernel) {
    case Kernel::kByEntries: return "by-entries";
    case Kernel::kByTokens: return "by-tokens";
    case Kernel::kTiles: return "tiles";
    case Kernel::kCusparse: return "cusparse";
    case Kernel::kDense: break;
  }
  return "dense";
}

double predicted_dense_s(DenseType type, const Shape& s, const Machine& m) {
  const auto rows = static_cast<double>(s.rows), cols = static_cast<double>(s.cols), n = static_cast<double>(s.n);
  const double size = type == DenseType::k16Bit ? 2 : 1;
  const double rate = type == DenseType::k16Bit ? m.dense_flops : type == DenseType::kInt8 ? m.int8_flops : m.fp8_flops;
  if (rate == 0) return std::numeric_limits<double>::infinity();
  // Activations are converted on the way in; results are 16 bits wide.
  const double bytes = rows * cols * size + cols * n * size + rows * n * 2;
  return kLaunch + std::max(moved(m, bytes, 0), 2 * rows * cols * std::max(8.0, n) / rate);
}

double predicted_s(Kernel kernel, const Shape& s, const Machine& m) {
  const auto rows = static_cast<double>(s.rows), cols = static_cast<double>(s.cols), nnz = static_cast<double>(s.nnz);
  const auto n = static_cast<double>(s.n), size = static_cast<double>(size_of(s.type));
  const bool is_16_bit = size == 2;
  const double activations = (rows + cols) * n * size;
  // Turning activations feature-major reads and writes them once.
  const double turn_in = kLaunch + moved(m, 2 * cols * n * size, 0);
  const double turn_out = kLaunch + moved(m, 2 * rows * n * size, 0);
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
    case Kernel::kCusparse: {  // assumed: gathers as by entries, at half the rate, after a call that balances rows
      const double passes = ceil_div(n, 8);
      return 2 * kLaunch + slowest(m, nnz * (size + 4) + activations, passes * nnz * (size + 4) + nnz * n * kSector, 0, 4 * nnz * n);
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
      const double arithmetic = is_16_bit ? flops / m.dense_flops : flops * size / 4 / m.fma_flops;
      return kLaunch + std::max(moved(m, rows * cols * size + activations, 0), arithmetic);
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

bool blocks_run_sparse(const Shape& s, int64_t r, bool on_tensor_cores, const Machine& m) {
  const auto rows = static_cast<double>(s.rows), cols = static_cast<double>(s.cols), nnz = static_cast<double>(s.nnz);
  const auto n = static_cast<double>(s.n), size = static_cast<double>(size_of(s.type));
  const double flops = 2 * nnz * std::max(8.0, n), passes = ceil_div(n, 128);
  const double turn = kLaunch + moved(m, 2 * cols * n * size, 0);
  // The outputs of a group share the rows of activations that their entries name (strips_for() of cuda/bsr/launch.h).
  const double sharing = r % 64 == 0 ? 64 : r % 32 == 0 ? 32 : 16;
  const double sparse = turn + kLaunch +
                        slowest(m, nnz * size + (rows + cols) * n * size, passes * nnz * size + nnz / sharing * n * size,
                                on_tensor_cores ? flops : 0, on_tensor_cores ? 0 : flops * std::max(1.0, size / 4));
  return sparse < predicted_s(Kernel::kDense, s, m);
}

bool gradient_by_tiles(const Shape& s, int64_t tiles) {
  constexpr int64_t kEntriesPerTile =
      64;  // each reads two rows of the batch; a tile reads 128, and multiplies 64 times as much
  return size_of(s.type) == 2 && s.nnz >= kEntriesPerTile * tiles;
}

}  // namespace jouleprune::cuda::csr
