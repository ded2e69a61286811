// Which kernel a product with a csr weight should run, by what each has to move and to multiply. Predicted, not
// measured: no kernel of this folder was timed on a GPU yet. Knows neither torch nor CUDA.
#pragma once
#include <cstdint>

#include "element_type.h"

namespace jouleprune::cuda::csr {

enum class Kernel { kByEntries, kByTokens, kTiles, kDense, kCusparse };

/// "by-entries", "by-tokens", "tiles", "dense", "cusparse".
const char* name_of(Kernel kernel);

/// What a GPU can do, per second.
struct Machine {
  double dram_bytes, l2_bytes;
  double tensor_flops;  // 16-bit, dense, by mma.sync
  double fma_flops;     // float32
  int multiprocessors;
  // Dense products of the vendor's library, by whatever tensor cores have; 0 where there is no such product.
  double dense_flops, int8_flops, fp8_flops;
};

/// `major`.`minor`: compute capability; rates as the device tells them.
Machine machine_of(int major, int minor, int multiprocessors, double clock_hz, double dram_bytes_per_s);

struct Shape {
  ElementType type;
  int64_t rows, cols, nnz, n;
};

/// Seconds of one product, all of its launches included; infinity where the kernel does not serve the type.
double predicted_s(Kernel kernel, const Shape& shape, const Machine& machine);

/// Dense products in other number types, for comparison: what a layer would cost that was converted instead.
enum class DenseType { k16Bit, kInt8, kFp8 };
double predicted_dense_s(DenseType type, const Shape& shape, const Machine& machine);

/// The quickest by prediction; a sparse one only where it beats dense. Never cuSPARSE, whose kernels are not known here: it has to be
/// measured.
Kernel choose(const Shape& shape, const Machine& machine);

/// Whether a product with blocks of `r` outputs should run on the kernels of cuda/bsr rather than as torch's dense one. `shape.nnz`: entries
/// of the kept blocks; `on_tensor_cores`: as fits_tensor_cores() of cuda/bsr/linear_bsr.h and a 16-bit type.
bool blocks_run_sparse(const Shape& shape, int64_t r, bool on_tensor_cores, const Machine& machine);

/// Whether the gradient of the values should be multiplied by tiles of 64 x 64 (`tiles` of which keep something) rather
/// than entry by entry: 16-bit types, where a tile's products, at the rate of tensor cores, cost less than gathering
/// for its entries.
bool gradient_by_tiles(const Shape& shape, int64_t tiles);

}  // namespace jouleprune::cuda::csr
