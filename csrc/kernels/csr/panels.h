// weight [rows, cols] x activations [cols, n], for any source of activations and any place for the result: the loop that linear
// and conv2d share. Activations are packed into panels of a few vectors of columns; units of (panel, groups of rows) are spread
// over the threads. Each sum starts from the bias and runs over blocks of columns in ascending order; within a block the columns
// are ascending, too, unless the order has patterns (panel_order.h).
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/csr/panel_order.h"
#include "kernels/csr/vector_kernels.h"
#include "kernels/parallel.h"

namespace jouleprune::kernels::csr {

/// Columns [begin, begin + count) of the activations, packed `width` wide; width is the least multiple of the lanes >= count.
struct Panel {
  int64_t begin, count, width;
};

template <class T>
struct PanelProblem {
  PanelWeight<T> weight;
  int64_t row_begin = 0, row_end = 0;  ///< rows of the weight that take part
  int64_t n = 0;
  /// Writes rows [col_begin, col_end) of the panel: to[(c - col_begin) * width + j]; zeros for count <= j < width.
  std::function<void(const Panel& panel, int64_t col_begin, int64_t col_end, Accumulate<T>* to)> fill;
  /// Takes finished rows [row_begin, row_end) of the panel's result: tile[(r - row_begin) * width + j].
  std::function<void(const Panel& panel, int64_t row_begin, int64_t row_end, const Accumulate<T>* tile)> store;
  /// Asks for the cache lines that `store` will write; may be empty.
  std::function<void(const Panel& panel, int64_t row_begin, int64_t row_end)> prepare_store;
};

template <class T>
void multiply_panels(const PanelProblem<T>& problem, Isa isa, const ParallelFor& parallel);

/// Bounds [blocks + 1] of row blocks with about equal work: kept weights, and a little for each row.
std::vector<int64_t> balanced_rows(const int32_t* row_offsets, int64_t row_begin, int64_t row_end, int64_t blocks);

/// Multiply-adds that are worth waking another thread for: about 20 us of one core.
inline constexpr int64_t kGrainWork = 200'000;
/// Items of `work` multiply-adds each that make one grain.
inline int64_t grain_of(int64_t work) { return work <= 0 ? kGrainWork : (kGrainWork + work - 1) / work; }

}  // namespace jouleprune::kernels::csr
