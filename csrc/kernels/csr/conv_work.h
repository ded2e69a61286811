// What one call of a convolution on a raster works with: made once, read by all threads.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "kernels/csr/conv_plan.h"
#include "kernels/csr/conv_product.h"
#include "kernels/csr/csr_kernels.h"
#include "kernels/csr/raster.h"
#include "kernels/csr/raster_kernels.h"
#include "kernels/csr/vector_kernels.h"

namespace jouleprune::kernels::csr {

template <class T>
struct ConvWork {
  using A = Accumulate<T>;

  ConvWork(const ConvParams<T>& params, const ConvPlan& plan, Isa isa);

  /// Elements of a row of a panel, which holds one vector of pixels of each column (several for loops, which take them together).
  int64_t panel_width() const { return kernels.lanes * step; }

  const ConvParams<T>& params;
  ConvShape shape;
  ConvPlan plan;
  const RasterKernels<T>& kernels;
  const VectorKernels<T>& vectors;
  int64_t out_plane;             ///< pixels of an output plane
  std::vector<A> start;          ///< first sums of the rows
  std::optional<Raster> raster;  ///< none: the planes of the input are read as they are
  PlaneLayout layout;
  int64_t step = 1;              ///< vectors of pixels that are multiplied together
  int64_t block = 1;             ///< columns of a block
  int64_t tile_width = 0;        ///< elements of a row of a tile
  std::shared_ptr<const ConvProduct<A>> product;

 private:
  void make_product(Isa isa);
};

/// The padded planes of a section, as work.layout says: elements [first, last) of each plane. Which threads need which elements is
/// theirs to know: each fills planes of its own. Planes that are shared would be written by one core and read by another, call after
/// call, and each line that changes its core costs as much as 30 lines that stay (256 channels of 14 x 14: 290 us instead of 20).
template <class T>
void fill_raster(const ConvWork<T>& work, const Section& section, int64_t first, int64_t last, Accumulate<T>* planes);

/// The output pixels of a section.
template <class T>
void multiply_section(const ConvWork<T>& work, const Section& section, const ParallelFor& parallel);

}  // namespace jouleprune::kernels::csr
