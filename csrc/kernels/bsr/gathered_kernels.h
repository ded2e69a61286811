// Products of bfloat16 blocks of any width by matrix tiles: the kept inputs of a band of outputs are gathered, 32 at a time, from a
// panel of batch rows. One instruction adds the product of 16 outputs x 32 inputs with 32 inputs x 16 batch rows to 16 x 16 sums.
#pragma once
#include <cstdint>

#include "kernels/bsr/tile_kernels.h"

namespace jouleprune::kernels::bsr {

/// Batch rows of a panel [columns][32]: places 2j and 2j + 1 of a column hold batch rows j and 16 + j, so that two columns become
/// pairs of inputs of 16 batch rows each by moving halves of words. A column of zeros comes last.
inline constexpr int64_t kPanelRows = 32;
inline int64_t zero_column(int64_t cols) { return (cols + 1) / 2 * 2; }
inline int64_t panel_columns(int64_t cols) { return zero_column(cols) + 1; }

/// A weight in bands of 16 or 32 output rows, borrowed. Each step of a band meets 32 inputs.
struct GatheredBands {
  int64_t rows = 0;                  ///< of the weight; the last band may reach beyond
  int64_t strips = 1;                ///< tiles of a band: 1 or 2
  const int32_t* offsets = nullptr;  ///< [bands + 1]: steps of each band
  const int32_t* columns = nullptr;  ///< [steps, 32] of the panel; what is too many is its column of zeros
  const BFloat16* values = nullptr;  ///< [steps, strips, 16, 32]: of output i and input k at [i, k]
  const float* start = nullptr;      ///< [bands, strips, 16]: what sums begin with
  Activation activation = Activation::kNone;
};

struct GatheredKernels {
  /// Writes the panel of `count` <= 32 batch rows; zeros for the others.
  void (*pack)(const BFloat16* input, int64_t stride, int64_t count, int64_t cols, BFloat16* panel);
  /// output[j, i] for the rows i of bands [begin, end) and j < count; output [count, rows].
  void (*multiply)(const GatheredBands& bands, const BFloat16* panel, int64_t count, int64_t begin, int64_t end, BFloat16* output);
};

/// The processor's tiles; null where they do not serve (amx.h).
const GatheredKernels* gathered_kernels();

}  // namespace jouleprune::kernels::bsr
