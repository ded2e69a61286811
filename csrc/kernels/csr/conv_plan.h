// How a convolution runs: a pure function of its shape, its density and what the machine offers.
#pragma once
#include <cstdint>

#include "kernels/csr/csr_kernels.h"

namespace jouleprune::kernels::csr {

struct ConvPlan {
  /// false: products straight on the raster, junk pixels between rows included. true: one vector of output pixels at a time is
  /// gathered into an aligned panel, without junk.
  bool panels = false;
  bool plain = false;        ///< the planes of the input are read as they are, no raster is made
  bool straight_out = false; ///< sums go to the output without a tile between: plain, whole vectors, one block, no epilogue
  int64_t column_block = 0;  ///< columns per block, 0 = all
  int64_t tile_vectors = 8;  ///< vectors of pixels whose sums are in the making
  int64_t part_groups = 1;   ///< groups of rows that take turns at a vector of pixels on the raster
  int64_t images = 1, height = 0, width = 0;  ///< largest section (raster.h)
};

/// What a plan depends on besides the shape.
struct ConvMachine {
  int64_t lanes = 16;      ///< of a vector
  int64_t group_rows = 30; ///< rows of a group of the product
  bool code = true;        ///< generated code, else loops
  bool in_place = true;    ///< the input has the element type of the sums and is [batch, channels, height, width]
  bool out_in_place = true;  ///< the same of the output, and nothing is applied to the sums
};

/// One tap, no stride, no padding: an output pixel is a product with the input pixel at its place.
bool is_pointwise(const ConvShape& shape);

/// A pointwise convolution sees a plane as one long row: longer runs, the same products. Others stay as they are.
ConvShape flattened(ConvShape shape);

ConvPlan plan_conv(const ConvShape& shape, int64_t nnz, const ConvMachine& machine);

}  // namespace jouleprune::kernels::csr
