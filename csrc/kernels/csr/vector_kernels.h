// The inner loops of layout csr, one table per element type and instruction set. A "panel" is a block of activations with the
// batch rows (or output pixels) along the vector: panel[col * width + j] for j < width.
#pragma once
#include <cstdint>

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
  bool relu = false;                     ///< clamp at 0; NaN stays NaN
};

/// Widest panel in vectors; widths are 1 to kMaxVectors times `lanes`.
inline constexpr int64_t kMaxVectors = 4;

template <class T>
struct VectorKernels {
  using A = Accumulate<T>;
  int64_t lanes;  ///< elements of type A in a vector

  /// panel[c * width + j] = x[j * stride + c] for c < cols and j < n, 0 for n <= j < width.
  void (*pack)(const T* x, int64_t stride, int64_t n, int64_t cols, int64_t width, A* panel);
  /// tile[(r - begin) * width + j] = bias[r] + sum over the kept c of row r of w[r, c] panel[c * width + j], in the order of c.
  void (*multiply)(const Weight<T>& weight, int64_t begin, int64_t end, const A* panel, int64_t width, A* tile);
  /// y[j * stride + i] = tile[i * width + j] for i < rows, j < n.
  void (*unpack)(const A* tile, int64_t rows, int64_t width, int64_t n, T* y, int64_t stride);
  /// y[r] = bias[r] + w[r, :] . x for begin <= r < end; x: [cols] dense.
  void (*dot_rows)(const Weight<T>& weight, int64_t begin, int64_t end, const A* x, T* y);
  /// Dot product of two vectors; length is a multiple of `lanes`.
  A (*dot)(const A* a, const A* b, int64_t length);
};

/// The table of a supported instruction set; Isa::kReference has none (std::logic_error).
template <class T>
const VectorKernels<T>& vector_kernels(Isa isa);

}  // namespace jouleprune::kernels::csr
