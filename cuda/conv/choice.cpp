#include "conv/choice.h"

#include <algorithm>

#include "csr/roofline.h"

namespace jouleprune::cuda::conv {
namespace {

using csr::ceil_div;
using csr::kLaunch;
using csr::moved;

constexpr double kTile = 128;  // pixels of a block of threads

}  // namespace

double predicted_s(ConvKernel kernel, const ConvWork& w, const csr::Machine& m) {
  const auto rows = static_cast<double>(w.out_channels), cols = static_cast<double>(w.cols), kept = static_cast<double>(w.kept);
  const auto n = static_cast<double>(w.pixels), size = static_cast<double>(size_of(w.type)), in = static_cast<double>(w.input);
  const double out = rows * n, passes = ceil_div(n, kTile), wide = std::max(1.0, size / 4);
  switch (kernel) {
    case ConvKernel::kBlocks: {
      const auto planes = static_cast<double>(w.planes);
      const double shift = w.planes == 0 ? 0 : kLaunch + moved(m, (in + planes) * size, 0);
      const double strip = std::min(64.0, static_cast<double>(w.block_rows));
      // A block of threads for each strip of outputs and each tile of pixels: too few leave multiprocessors idle.
      const double busy = std::clamp(ceil_div(rows, strip) * passes / m.multiprocessors, 1.0 / m.multiprocessors, 1.0);
      const double flops = 2 * kept * n / busy, rate = w.tensor_cores && size == 2 ? m.tensor_flops : m.fma_flops / wide;
      const double bytes = kept * size + (std::max(planes, in) + out) * size;
      return shift + kLaunch + std::max(moved(m, bytes, passes * kept * size + kept / strip * n * size), flops / rate);
    }
    case ConvKernel::kEntries: {
      const auto raster = static_cast<double>(w.padded);
      const double pad = w.padded == w.input ? 0 : kLaunch + moved(m, (in + raster) * size, 0);
      const double bytes = kept * (size + 4) + (raster + out) * size;
      return pad + kLaunch + std::max(moved(m, bytes, passes * kept * (size + 4) + kept * n * size), 2 * kept * n / m.fma_flops);
    }
    case ConvKernel::kDense: break;
  }
  // Of float32 torch's convolutions round to TF32, at half the rate of 16-bit types.
  const double flops = 2 * rows * cols * n;
  const double arithmetic = size == 8 ? 2 * flops / m.fma_flops : flops * (size == 4 ? 2 : 1) / m.dense_flops;
  return kLaunch + std::max(moved(m, (rows * cols + in + out) * size, 0), arithmetic);
}

bool runs_sparse(ConvKernel sparse, const ConvWork& work, const csr::Machine& machine) {
  return predicted_s(sparse, work, machine) < predicted_s(ConvKernel::kDense, work, machine);
}

}  // namespace jouleprune::cuda::conv
