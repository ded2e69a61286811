// The sums of one group of rows of generated code and one vector of batch rows, on their way to the output.
#pragma once
#include "kernels/csr/code_tiles.h"
#include "kernels/csr/vector_kernels.h"
#include "kernels/jit/pattern_code.h"

namespace jouleprune::kernels::csr {

inline constexpr int64_t kMaxGroupRows = 32;  ///< room for the sums of one group, whole vectors

/// Activates the sums [block.rows, lanes] and turns them into `count` rows of the output, `stride` elements apart.
template <class T>
void finish_block(const jit::PatternBlock& block, Activation activation, const VectorKernels<T>& kernels, const CodeTiles<T>& tiles,
                  int64_t lanes, int64_t count, float* sums, T* output, int64_t stride) {
  const bool relu = activation == Activation::kRelu;  // on the way
  if (!relu && activation != Activation::kNone) {
    kernels.activate(activation, sums, block.rows * lanes);
  }
  tiles.finish(sums, block.rows, count, relu, output, stride);
}

}  // namespace jouleprune::kernels::csr
