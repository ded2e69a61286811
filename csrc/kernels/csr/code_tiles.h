// What surrounds generated code of a Linear, per instruction set: sums [rows, lanes] of one row group and one vector of batch rows
// become output rows.
#pragma once
#include <cstdint>

#include "kernels/isa.h"
#include "kernels/scalar_types.h"

namespace jouleprune::kernels::csr {

template <class T>
struct CodeTiles {
  /// panel[c * lanes + j] = x[j * stride + c] for c < cols and j < lanes; 0 for j >= count. As float32.
  void (*pack)(const T* x, int64_t stride, int64_t count, int64_t cols, float* panel);
  /// 16-bit types: neighbours along the row as one 4-byte element, panel[c * lanes + j] = {x[j, 2c], x[j, 2c + 1]}; 0 past the end.
  void (*pack_pairs)(const T* x, int64_t stride, int64_t count, int64_t cols, float* panel);
  /// output[j * stride + i] = relu?(sums[i * lanes + j]) for i < rows, j < count. `sums` has room for rows rounded up to lanes.
  void (*finish)(const float* sums, int64_t rows, int64_t count, bool relu, T* output, int64_t stride);
  /// Asks for the lines that finish will write, to be written: misses of stores were the largest cost of the transposed output
  /// (5 to 29 % of a whole layer on Zen 4).
  void (*prefetch)(T* output, int64_t rows, int64_t count, int64_t stride);
};

/// T: float, BFloat16, Half; isa: kAvx2 or kAvx512 (std::logic_error otherwise).
template <class T>
const CodeTiles<T>& code_tiles(Isa isa);

struct CodeTileTables {
  CodeTiles<float> float32;
  CodeTiles<BFloat16> bfloat16;
  CodeTiles<Half> float16;
};
#if defined(__x86_64__)
extern const CodeTileTables avx2_code_tiles, avx512_code_tiles;
#endif

}  // namespace jouleprune::kernels::csr
