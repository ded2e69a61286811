// Where a csr weight keeps something, as tiles of 64 x 64 with a bit per entry: for gradients that are multiplied tile
// by tile.
#pragma once
#include <cstdint>
#include <vector>

#include "csr/index.h"

namespace jouleprune::cuda::csr {

inline constexpr int kMaskTile = 64;

struct MaskTiles {
  std::vector<int32_t> tiles;  // [count, 2]: row and column in tiles; only those that keep something
  std::vector<int32_t> masks;  // [count, 64, 2]: bits of the columns of each row
  std::vector<int32_t>
      firsts;  // [count, 64]: the first entry of each row of the tile (of an empty one: where it would stand)
};

MaskTiles mask_tiles_of(const HostStructure& structure);

}  // namespace jouleprune::cuda::csr
