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

/// The output pixels of a section. planes: the input of its first image, as work.layout says.
template <class T>
void multiply_section(const ConvWork<T>& work, const Section& section, const Accumulate<T>* planes, const ParallelFor& parallel);

}  // namespace jouleprune::kernels::csr
