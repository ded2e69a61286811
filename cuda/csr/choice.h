// Which kernel a product with a csr weight should run, by what each has to move and to multiply. Predicted, not
// measured: no kernel of this folder was timed on a GPU yet. Knows neither torch nor CUDA.
#pragma once
#include <cstdint>

#include "element_type.h"

namespace jouleprune::cuda::csr {

enum class Kernel { kByEntries, kByTokens, kTiles, kDense };

/// What a GPU can do, per second.
struct Machine {
  double dram_bytes, l2_bytes;
  double tensor_flops;  // 16-bit, dense, by mma.sync
  double fma_flops;     // float32
  int multiprocessors;
};

/// `major`.`minor`: compute capability; rates as the device tells them.
Machine machine_of(int major, int minor, int multiprocessors, double clock_hz, double dram_bytes_per_s);

struct Shape {
  ElementType type;
  int64_t rows, cols, nnz, n;
};

/// Seconds of one product, all of its launches included; infinity where the kernel does not serve the type.
double predicted_s(Kernel kernel, const Shape& shape, const Machine& machine);

/// The quickest by prediction; a sparse one only where it beats dense.
Kernel choose(const Shape& shape, const Machine& machine);

/// Whether the gradient of the values should be multiplied by tiles of 64 x 64 (`tiles` of which keep something) rather
/// than entry by entry: 16-bit types, where a tile's products, at the rate of tensor cores, cost less than gathering
/// for its entries.
bool gradient_by_tiles(const Shape& shape, int64_t tiles);

}  // namespace jouleprune::cuda::csr
