// Products of bfloat16 blocks by matrix tiles (AMX): a tile register holds 16 rows of 64 bytes, and one instruction adds the product
// of 16 batch rows x 32 inputs with 32 inputs x 16 outputs to 16 x 16 sums. The loops are written against a class of tile
// operations (tile_body.h), of which there are two: the processor's, and one in plain C++ for the tests.
#pragma once
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/scalar_types.h"

namespace jouleprune::kernels::bsr {

inline constexpr int64_t kTileRows = 16;    ///< outputs or batch rows of a tile
inline constexpr int64_t kTileInputs = 32;  ///< bfloat16 inputs of a tile
inline constexpr int64_t kTileValues = kTileRows * kTileInputs;

/// A weight in bands of 16 or 32 output rows, borrowed. A band's tiles at one place along the inputs share its activations.
struct TileBands {
  int64_t rows = 0;                  ///< of the weight; the last band may reach beyond
  int64_t strips = 1;                ///< tiles of a band: 1 or 2
  const int32_t* offsets = nullptr;  ///< [bands + 1]: entries of each band
  const int32_t* columns = nullptr;  ///< [entries], ascending in a band: inputs 32c to 32c + 31
  /// [entries, strips, 16, 16, 2]: of inputs 2k and 2k + 1, of output i, at [k, i].
  const BFloat16* values = nullptr;
  const float* start = nullptr;  ///< [bands, strips, 16]: what sums begin with
  Activation activation = Activation::kNone;
};

/// Batch rows that meet a band at once: with one tile per strip 4 tiles of them, with two strips 2; 4 tiles of sums either way.
inline constexpr int64_t batch_rows_of(int64_t strips) { return strips == 2 ? 32 : 64; }

struct TileKernels {
  /// output[j, i] for the rows i of bands [begin, end) and j < count, which is at most batch_rows_of(bands.strips); output [count,
  /// rows]. `input` has rows of `stride` elements and may be read up to the next multiple of 16 batch rows and of 32 inputs.
  void (*multiply)(const TileBands& bands, const BFloat16* input, int64_t stride, int64_t count, int64_t begin, int64_t end,
                   BFloat16* output);
};

/// The processor's tiles; null where they do not serve (amx.h).
const TileKernels* tile_kernels();

}  // namespace jouleprune::kernels::bsr
