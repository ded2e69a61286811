// Products of bytes by matrix tiles (AMX): one instruction adds the product of 16 outputs x 64 inputs with 64 inputs x 16 batch rows
// to 16 x 16 sums in int32. The right factor is 16 quads of a panel of panel_kernels.h as it lies in memory; where the quads that a
// band of outputs uses are no neighbours, their lines are gathered first.
#pragma once
#include <cstdint>

namespace jouleprune::kernels::bsr_int8 {

inline constexpr int64_t kTileSide = 16;    ///< outputs, quads or batch rows of a tile
inline constexpr int64_t kTileBytes = 1024;  ///< of a tile of weights: [output][quad][4]

/// A weight in bands of 16 or 32 output rows, borrowed. Each step of a band meets 16 quads of inputs.
struct TileWeight {
  int64_t strips = 1;                ///< tiles of a band: 1 or 2
  const int32_t* offsets = nullptr;  ///< [bands + 1]: steps of each band
  const int32_t* places = nullptr;   ///< [steps] the first of 16 neighbouring quads; or, less than 0, -1 - the index into `gathered`
  const int32_t* gathered = nullptr;  ///< [gathered steps, 16] quads
  const int8_t* values = nullptr;    ///< [steps, strips, 16, 16, 4]; 0 where nothing is kept
  const int32_t* start = nullptr;    ///< [bands, strips, 16, 16]: what the sums of an output begin with, for 16 batch rows
};

struct TileKernels {
  /// sums[(r - row of begin) * width + j] for the rows of bands [begin, end), whole bands of them. `panel` (panel_kernels.h, one word;
  /// width 16 or 32) may be read up to 15 quads beyond its last one.
  void (*multiply)(const TileWeight& weight, int64_t begin, int64_t end, const int32_t* panel, int64_t width, int32_t* sums);
};

/// The processor's tiles; null where they do not serve (amx.h).
const TileKernels* tile_kernels();

}  // namespace jouleprune::kernels::bsr_int8
