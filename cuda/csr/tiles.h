// Bitmap tiles: an unstructured 16-bit weight as tensor cores take it. A strip of 16 rows is cut into groups of 64
// columns, four tiles of 16 x 16. Each lane of a warp has eight elements of a tile in its operand (fragments.h): one
// byte of mask per lane says which of them are kept, and their values follow each other in the order of lanes. A group
// is a header of 176 bytes and its values, filled up to 16 bytes: 1.18 bytes per weight at 50 % zeros, 0.58 at 80 %
// (dense: 2).
//
//   header   [  0, 128)  masks: byte 32 t + lane of tile t; bit i is element i of the lane
//            [128, 160)  byte 8 t + w: kept values of tile t before lane 4 w
//            [160, 168)  four uint16: kept values of the group before tile t
//            [168, 176)  0
//
// The bitmap is that of SpInfer (Fan et al., EuroSys 2025); the order by lanes takes one count of bits per lane and
// tile instead of one per register and 8 x 8 quadrant.
#pragma once
#include <cstdint>
#include <vector>

#include "csr/index.h"
#include "simt/platform.h"

namespace jouleprune::cuda::csr {

inline constexpr int kGroupRows = 16, kGroupColumns = 64, kTilesPerGroup = 4;
inline constexpr uint32_t kHeaderBytes = 176, kCountsAt = 128, kBasesAt = 160;
inline constexpr int kMostGroupValues = kGroupRows * kGroupColumns;

JP_ANYWHERE constexpr int64_t strips_of(int64_t rows) { return simt::ceil_div<int64_t>(rows, kGroupRows); }
JP_ANYWHERE constexpr int64_t groups_per_strip(int64_t cols) { return simt::ceil_div<int64_t>(cols, kGroupColumns); }

struct Tiles {
  std::vector<uint8_t> headers;  // [strips, groups per strip, 176]
  std::vector<int32_t> starts;   // [groups + 1]: where each group's values begin, in 16 bytes
  std::vector<int32_t> order;    // [8 starts.back()]: which entry each packed value is, -1 for filling up
};

/// `sources`: where the values of entries stand in the canonical ones (of a transposed structure), or null.
Tiles tiles_of(const HostStructure& structure, const int32_t* sources = nullptr);

}  // namespace jouleprune::cuda::csr
