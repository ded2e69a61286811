#include "csr/mask_tiles.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "simt/platform.h"

namespace jouleprune::cuda::csr {

MaskTiles mask_tiles_of(const HostStructure& s) {
  MaskTiles all;
  for (int64_t top = 0; top < s.rows; top += kMaskTile) {
    const int64_t rows = std::min<int64_t>(kMaskTile, s.rows - top);
    std::array<int32_t, kMaskTile> next{};
    std::copy(s.offsets + top, s.offsets + top + rows, next.begin());
    for (int64_t left = 0; left < s.cols; left += kMaskTile) {
      std::array<uint32_t, 2 * kMaskTile> masks{};
      const auto firsts = next;
      bool any = false;
      for (int64_t r = 0; r < rows; ++r) {
        auto& k = next[static_cast<size_t>(r)];
        for (; k < s.offsets[top + r + 1] && s.columns[k] < left + kMaskTile; ++k) {
          const auto bit = static_cast<size_t>(s.columns[k] - left);
          masks[2 * static_cast<size_t>(r) + bit / 32] |= 1u << bit % 32;
          any = true;
        }
      }
      if (any) {
        all.tiles.insert(all.tiles.end(),
                         {static_cast<int32_t>(top / kMaskTile), static_cast<int32_t>(left / kMaskTile)});
        all.firsts.insert(all.firsts.end(), firsts.begin(), firsts.end());
        for (const uint32_t mask : masks) {
          all.masks.push_back(static_cast<int32_t>(mask));
        }
      }
    }
  }
  return all;
}

}  // namespace jouleprune::cuda::csr
