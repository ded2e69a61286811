// The inner loops of convolutions on a raster (raster.h), one table per element type and instruction set. A "tile" holds sums:
// tile[row * width + lane].
#pragma once
#include <cstdint>

#include "kernels/isa.h"
#include "kernels/scalar_types.h"

namespace jouleprune::kernels::csr {

/// Consecutive pixels: `count` of them, `from` elements into the source, `to` elements into the target.
struct PixelCopy {
  int64_t from, to, count;
};

/// `zeros` zeros from `to` on, then `count` pixels that begin `from` elements into the source.
struct RowCopy {
  int64_t from, zeros, to, count;
};

/// Kept weights of a few rows times a block of columns, sorted by which of the rows keep a column ("pattern", one bit per row):
/// a column is loaded once for all of them. counts[pattern - 1] columns of each pattern; values pattern by pattern, column by
/// column.
template <class A>
struct LoopBlock {
  const int32_t* counts;
  const int32_t* columns;  ///< elements from the start of the activations
  const A* values;
  const A* start;          ///< first sums of the rows, or null: go on from the tile
  int64_t rows;            ///< at most RasterKernels::loop_rows
};

template <class T>
struct RasterKernels {
  using A = Accumulate<T>;
  int64_t lanes;         ///< elements of type A in a vector
  int64_t loop_rows;     ///< rows that `multiply` takes together
  int64_t loop_vectors;  ///< vectors that it takes together at best

  /// Fills planes: for each copy, `zeros` zeros from to + c * plane + copy.to on, then copy.count elements
  /// from[copy.from + i * stride]. One channel (`channels` is 1).
  void (*fill_plane)(const T* from, int64_t stride, const RowCopy* copies, int64_t copy_count, int64_t channels, A* to,
                     int64_t plane);
  /// The same for `channels` neighbours, channel c from[copy.from + i * stride + c].
  void (*fill_pixels)(const T* from, int64_t stride, const RowCopy* copies, int64_t copy_count, int64_t channels, A* to,
                      int64_t plane);
  /// One vector of pixels of each column: to[c * width + copy.to + i] = planes[columns[c] + copy.from + i]; other lanes are 0.
  void (*gather)(const A* planes, const int32_t* columns, int64_t count, const PixelCopy* copies, int64_t copy_count,
                 int64_t width, A* to);
  /// output[r * stride + copy.to + i] = relu?(tile[r * width + copy.from + i])
  void (*copy_out)(const A* tile, int64_t width, int64_t rows, const PixelCopy* copies, int64_t copy_count, bool relu, T* output,
                   int64_t stride);
  /// tile[r * width + lane] += sum over the block's columns of w[r, c] x[columns[c] + lane], for vectors * lanes lanes.
  void (*multiply)(const LoopBlock<A>& block, const A* x, int64_t vectors, A* tile, int64_t width);
};

/// The table of a supported instruction set; Isa::kReference has none (std::logic_error).
template <class T>
const RasterKernels<T>& raster_kernels(Isa isa);

}  // namespace jouleprune::kernels::csr
