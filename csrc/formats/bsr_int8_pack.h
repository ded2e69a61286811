// Between a dense weight [rows, cols] and int8 blocks of 1 x 4, one scale per row. Torch-free.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "formats/csr.h"

namespace jouleprune::formats {

inline constexpr int64_t kInt8Quad = 4;

/// Blocks that hold a kept entry, row by row, into row_offsets [rows + 1]; returns their number. Offsets beyond int32 are cut off:
/// check the number before using them. `kept`: [rows, cols].
inline int64_t quad_offsets(const bool* kept, int64_t rows, int64_t cols, int32_t* row_offsets) {
  int64_t nnz = 0;
  row_offsets[0] = 0;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; c += kInt8Quad) {
      const bool* quad = kept + r * cols + c;
      nnz += std::any_of(quad, quad + std::min(kInt8Quad, cols - c), [](bool keep) { return keep; });
    }
    row_offsets[r + 1] = static_cast<int32_t>(nnz);
  }
  return nnz;
}

/// The scale of a row: its largest kept magnitude is 127 steps; 1 for a row of zeros. Never so small that its inverse overflows.
inline float int8_scale(const float* row, const bool* kept, int64_t cols) {
  float largest = 0;
  for (int64_t c = 0; c < cols; ++c) {
    largest = kept[c] ? std::max(largest, std::abs(row[c])) : largest;
  }
  return largest == 0 ? 1.0f : std::max(largest / 127, 0x1p-126f);
}

/// Writes columns [nnz] and blocks [nnz, 4] (canonical order; what is not kept or beyond the last column is 0) and scales [rows].
/// The weight is finite.
inline void quantise_quads(const float* weight, const bool* kept, int64_t rows, int64_t cols, int32_t* columns, int8_t* blocks,
                           float* scales) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = weight + r * cols;
    const bool* keep = kept + r * cols;
    scales[r] = int8_scale(row, keep, cols);
    for (int64_t c = 0; c < cols; c += kInt8Quad) {
      const int64_t present = std::min(kInt8Quad, cols - c);
      if (std::none_of(keep + c, keep + c + present, [](bool k) { return k; })) {
        continue;
      }
      *columns++ = static_cast<int32_t>(c / kInt8Quad);
      for (int64_t i = 0; i < kInt8Quad; ++i) {
        const bool kept_here = i < present && keep[c + i];
        *blocks++ = static_cast<int8_t>(kept_here ? std::clamp(std::nearbyint(row[c + i] / scales[r]), -127.0f, 127.0f) : 0.0f);
      }
    }
  }
}

/// Writes the kept blocks times their scales to dense [rows, cols], whose other entries stay as they are. `quads`: the structure,
/// with ceil(cols / 4) columns.
inline void scatter_quads(const CsrView& quads, const int8_t* blocks, const float* scales, int64_t cols, float* dense) {
  for (int64_t r = 0; r < quads.rows; ++r) {
    for (int64_t k = quads.row_offsets[r]; k < quads.row_offsets[r + 1]; ++k) {
      for (int64_t i = 0; i < kInt8Quad; ++i) {
        if (const int64_t c = quads.col_indices[k] * kInt8Quad + i; c < cols) {
          dense[r * cols + c] = static_cast<float>(blocks[k * kInt8Quad + i]) * scales[r];
        }
      }
    }
  }
}

}  // namespace jouleprune::formats
