// Where 16-byte chunks of a matrix of 16-bit elements stand in shared memory, so that ldmatrix, which reads one chunk
// of each of eight neighbouring rows at a time, meets eight different groups of four banks.
#pragma once
#include "simt/platform.h"

namespace jouleprune::cuda {

inline constexpr int kChunkElements = 8;

/// Offset in bytes of `chunk` of `row`, in a matrix of kChunks (a power of two) chunks per row.
template <int kChunks>
JP_ANYWHERE constexpr uint32_t swizzled(int row, int chunk) {
  static_assert((kChunks & (kChunks - 1)) == 0, "chunks of a row: a power of two");
  constexpr int kTurn = kChunks < 8 ? kChunks : 8;  // chunks that change places with each other
  constexpr int kRowsPerTurn = 8 / kTurn;           // rows that fill all banks once
  return static_cast<uint32_t>((row * kChunks + (chunk ^ (row / kRowsPerTurn % kTurn))) * 16);
}

}  // namespace jouleprune::cuda
