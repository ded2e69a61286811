// The residual of a Linear, added to a part of the output that has just been stored.
#pragma once
#include "kernels/csr/csr_kernels.h"
#include "kernels/csr/vector_kernels.h"
#include "kernels/denormals.h"

namespace jouleprune::kernels::csr {

/// `count` batch rows from `first` on, of each the outputs [row_begin, row_end).
struct Tile {
  int64_t first, count, row_begin, row_end;
};

template <class T>
void add_residual(const LinearParams<T>& p, const VectorKernels<T>& kernels, const Tile& tile) {
  if (p.residual.values == nullptr) {
    return;
  }
  const FlushDenormals flush;
  for (int64_t j = tile.first; j < tile.first + tile.count; ++j) {
    const int64_t at = j * p.csr.rows + tile.row_begin;
    kernels.add_residual(p.residual.values + at, p.residual.activation, tile.row_end - tile.row_begin, p.output + at);
  }
}

}  // namespace jouleprune::kernels::csr
