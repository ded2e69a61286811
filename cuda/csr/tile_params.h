// What products with compressed weights are given.
#pragma once
#include <cstdint>

#include "epilogue.h"

namespace jouleprune::cuda::csr {

struct TileParams {
  const uint8_t* headers;  // of each group: bitmaps (tiles.h), or metadata of 2:4 (pairs.h)
  const int32_t* starts;   // where a group's values begin; null where all groups are of one size
  const void* values;      // packed, at a multiple of 16 bytes
  int64_t rows, cols;
  const void* x;  // [cols, pitch], feature-major
  int64_t pitch;  // a multiple of 8
  void* y;        // [n, rows]
  int64_t n;
  bool whole_chunks;
  Epilogue epilogue;
  int32_t splits;  // parts of the columns, each with blocks of its own
  float* partial;  // [splits, strips, 16, tokens of all tiles], where splits > 1
};

}  // namespace jouleprune::cuda::csr
