// Between a dense weight [rows, cols] and layout bsr. Torch-free.
#pragma once
#include <algorithm>

#include "formats/bsr.h"

namespace jouleprune::formats {

/// Calls visit(block_row, block_column) for each block of which any entry is kept, in canonical order. `kept`: [rows, cols].
template <class Visit>
void for_each_kept_block(const bool* kept, int64_t rows, int64_t cols, int64_t r, int64_t c, const Visit& visit) {
  for (int64_t top = 0; top < rows; top += r) {
    for (int64_t left = 0; left < cols; left += c) {
      bool any = false;
      for (int64_t row = top; row < std::min(rows, top + r) && !any; ++row) {
        const bool* const entries = kept + row * cols;
        any = std::any_of(entries + left, entries + std::min(cols, left + c), [](bool entry) { return entry; });
      }
      if (any) {
        visit(top / r, left / c);
      }
    }
  }
}

/// Calls visit(entry within `blocks`, row, column) for each entry of the kept blocks that is no padding.
template <class Visit>
void for_each_entry(const BsrView& bsr, const Visit& visit) {
  for (int64_t block_row = 0; block_row < bsr.down(); ++block_row) {
    const int64_t top = block_row * bsr.r, height = std::min(bsr.r, bsr.rows - top);
    for (int64_t k = bsr.block_row_offsets[block_row]; k < bsr.block_row_offsets[block_row + 1]; ++k) {
      const int64_t left = bsr.block_columns[k] * bsr.c, width = std::min(bsr.c, bsr.cols - left);
      for (int64_t i = 0; i < height; ++i) {
        for (int64_t j = 0; j < width; ++j) {
          visit((k * bsr.r + i) * bsr.c + j, top + i, left + j);
        }
      }
    }
  }
}

}  // namespace jouleprune::formats
