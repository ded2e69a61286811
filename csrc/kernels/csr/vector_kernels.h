// The inner loops of layout csr, one table per element type and instruction set. A "panel" is a block of activations with the
// batch rows (or output pixels) along the vector: panel[col * width + j] for j < width.
#pragma once
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/isa.h"
#include "kernels/scalar_types.h"

namespace jouleprune::kernels::csr {

/// A weight in csr, borrowed.
template <class T>
struct Weight {
  const T* values = nullptr;             ///< [nnz]
  const int32_t* col_indices = nullptr;  ///< [nnz]
  const int32_t* row_offsets = nullptr;  ///< [rows + 1]
  const T* bias = nullptr;               ///< [rows] or null
  Activation activation = Activation::kNone;
};

/// Widest panel of `multiply` in vectors; widths are 1 to kMaxVectors times `lanes`.
inline constexpr int64_t kMaxVectors = 4;

/// Where a group of rows begins in the streams of a PanelOrder.
struct PanelStart {
  uint32_t values, columns;
};

/// A PanelOrder, borrowed.
struct PanelStream {
  const int32_t* columns;
  const uint16_t* counts;
  const PanelStart* starts;
  int64_t groups;
  int64_t block_columns;  ///< of all blocks but the last, which may have fewer
  bool patterns;
  int64_t rows;  ///< of a group
};

/// Work of one thread: groups [group_begin, group_end) times one block of columns of one panel.
template <class A>
struct PanelUnit {
  PanelStream stream;
  const A* values;        ///< in the order of the stream
  int64_t block, group_begin, group_end;
  const A* panel;         ///< [cols, width]
  int64_t width;
  const A* start;         ///< [rows of all groups] what sums begin with in block 0; later blocks go on from the tile
  bool relu;              ///< clamp the sums: for the last block
  A* tile;                ///< [rows of the groups, width]
};

template <class T>
struct VectorKernels {
  using A = Accumulate<T>;
  int64_t lanes;          ///< elements of type A in a vector
  int64_t panel_vectors;  ///< widest panel of multiply_unit in vectors

  /// panel[c * width + j] = x[j * stride + c] for c < cols and j < n, 0 for n <= j < width.
  void (*pack)(const T* x, int64_t stride, int64_t n, int64_t cols, int64_t width, A* panel);
  /// y[j * stride + i] = tile[i * width + j] for i < rows, j < n.
  void (*unpack)(const A* tile, int64_t rows, int64_t width, int64_t n, T* y, int64_t stride);
  /// Asks for the cache lines that `unpack` of as many rows will write: a store that misses costs more than the transpose.
  void (*prepare_unpack)(T* y, int64_t stride, int64_t rows, int64_t n);
  /// Sums of a unit, from the start values or the tile into the tile.
  void (*multiply_unit)(const PanelUnit<A>& unit);
  /// Applies it to `count` elements in place, a multiple of `lanes`.
  void (*activate)(Activation activation, A* x, int64_t count);
  /// output[i] = activation(output[i] + residual[i]) for i < count.
  void (*add_residual)(const T* residual, Activation activation, int64_t count, T* output);

  /// tile[(r - begin) * width + j] = bias[r] + sum over the kept c of row r of w[r, c] panel[c * width + j], in the order of c,
  /// straight from csr.
  void (*multiply)(const Weight<T>& weight, int64_t begin, int64_t end, const A* panel, int64_t width, A* tile);
  /// sums[i] += g . columns[index[i]] for i < count; vectors of `length` elements, a multiple of `lanes`; column c at
  /// columns + c * length.
  void (*sampled_dots)(const A* g, const A* columns, int64_t length, const int32_t* index, int64_t count, A* sums);
};

/// The table of a supported instruction set; Isa::kReference has none (std::logic_error).
template <class T>
const VectorKernels<T>& vector_kernels(Isa isa);

}  // namespace jouleprune::kernels::csr
