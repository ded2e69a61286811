// A layer as fixed-nest devices see it, and a tiling laid over it.
#pragma once
#include <jouleprune/energy.h>

#include <string>

#include "energy/nest/device.h"

namespace jouleprune::energy::nest {

/// Sizes of one layer and how far its windows move. Tensors: weights [G, M, C, R, S]; inputs [G, N, C, rows, columns],
/// rows = stride P + dilation R; outputs [G, N, M, P, Q].
struct Problem {
  Sizes sizes{1, 1, 1, 1, 1, 1, 1, 1};
  std::array<int64_t, 2> stride{1, 1}, dilation{1, 1};  ///< of rows, of columns

  bool windows() const { return sizes[kR] * sizes[kS] * sizes[kP] * sizes[kQ] > 1; }
};

/// A convolution whose entry tells its image as a convolution: 1-d ones have one row, the depth of 3-d ones counts as
/// channels (taps) and images (outputs). All other products, and convolutions that tell no image: W[M, C] X[C, N], the
/// windows of the latter unfolded.
Problem problem_of(const Entry& entry);

/// A tiling laid over a problem. Sizes that tiles do not divide are rounded up to whole tiles.
struct Layout {
  Workload workload;
  Mapping mapping;
  std::vector<size_t> level_of;        ///< [device levels] position among the levels of `mapping`
  std::array<double, kTensors> share;  ///< of each tensor's rounded up words, those that are really there
};

Layout lay_out(const Problem& problem, const Device& device, const Tiling& tiling);

/// Whether every level holds its tiles, in elements of `bits` where the level does not say how wide its words are.
bool fits(const Layout& layout, const NestCounts& counts, const Device& device, int bits);

}  // namespace jouleprune::energy::nest
