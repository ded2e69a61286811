// What masked_gradient.h is given.
#pragma once
#include <cstdint>

namespace jouleprune::cuda::csr {

struct MaskedParams {
  const int32_t* tiles;   // [count, 2]: which 64 rows, which 64 columns
  const uint32_t* masks;  // [count, 64, 2]: kept columns of each row, a bit per column
  const int32_t* firsts;  // [count, 64]: the first entry of each row of the tile
  int64_t count, rows, cols;
  const void *dy, *x;  // feature-major, `pitch` elements a row; zero beyond n
  int64_t pitch, n;
  void* gradient;  // [nnz]
};

}  // namespace jouleprune::cuda::csr
