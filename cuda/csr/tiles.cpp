#include "csr/tiles.h"

#include <array>
#include <cstddef>
#include <cstring>

#include "simt/fragments.h"

namespace jouleprune::cuda::csr {
namespace {

constexpr int kPerLane = 8, kPerTile = simt::kLanes * kPerLane, kPerChunk = 8;

/// Which lane's which element each (row, column) of a tile is, as lane * 8 + element.
std::array<int16_t, kPerTile> owners() {
  std::array<int16_t, kPerTile> all{};
  for (int lane = 0; lane < simt::kLanes; ++lane) {
    for (int i = 0; i < kPerLane; ++i) {
      const auto p = simt::place_in_a(lane, i);
      all[static_cast<size_t>(p.row * 16 + p.column)] = static_cast<int16_t>(lane * kPerLane + i);
    }
  }
  return all;
}

// `places`: of each element of the group, by tile, lane and element: which value it is, or -1.
void pack_group(const std::vector<int32_t>& places, Tiles& tiles) {
  std::array<uint8_t, kHeaderBytes> header{};
  uint16_t before_tile = 0;
  for (int t = 0; t < kTilesPerGroup; ++t) {
    std::memcpy(header.data() + kBasesAt + 2 * t, &before_tile, sizeof(before_tile));
    int in_tile = 0;
    for (int lane = 0; lane < simt::kLanes; ++lane) {
      if (lane % 4 == 0) {
        header[kCountsAt + static_cast<size_t>(8 * t + lane / 4)] = static_cast<uint8_t>(in_tile);
      }
      for (int i = 0; i < kPerLane; ++i) {
        if (const int32_t place = places[static_cast<size_t>((t * simt::kLanes + lane) * kPerLane + i)]; place >= 0) {
          header[static_cast<size_t>(32 * t + lane)] |= static_cast<uint8_t>(1u << i);
          tiles.order.push_back(place);
          ++in_tile;
        }
      }
    }
    before_tile = static_cast<uint16_t>(before_tile + in_tile);
  }
  while (tiles.order.size() % kPerChunk != 0) {
    tiles.order.push_back(-1);
  }
  tiles.headers.insert(tiles.headers.end(), header.begin(), header.end());
  tiles.starts.push_back(static_cast<int32_t>(tiles.order.size() / kPerChunk));
}

}  // namespace

Tiles tiles_of(const HostStructure& s, const int32_t* sources) {
  static const auto owner = owners();
  Tiles tiles;
  tiles.starts.push_back(0);
  const int64_t groups = groups_per_strip(s.cols);
  std::vector<int32_t> next(kGroupRows);
  std::vector<int32_t> places;
  for (int64_t strip = 0; strip < strips_of(s.rows); ++strip) {
    for (int row = 0; row < kGroupRows; ++row) {
      const int64_t r = strip * kGroupRows + row;
      next[static_cast<size_t>(row)] = r < s.rows ? s.offsets[r] : 0;
    }
    for (int64_t group = 0; group < groups; ++group) {
      places.assign(kMostGroupValues, -1);
      for (int row = 0; row < kGroupRows && strip * kGroupRows + row < s.rows; ++row) {
        auto& k = next[static_cast<size_t>(row)];
        for (; k < s.offsets[strip * kGroupRows + row + 1] && s.columns[k] < (group + 1) * kGroupColumns; ++k) {
          const auto column = static_cast<int>(s.columns[k] - group * kGroupColumns);
          const int at = column / 16 * kPerTile + owner[static_cast<size_t>(row * 16 + column % 16)];
          places[static_cast<size_t>(at)] = sources == nullptr ? k : sources[k];
        }
      }
      pack_group(places, tiles);
    }
  }
  return tiles;
}

}  // namespace jouleprune::cuda::csr
