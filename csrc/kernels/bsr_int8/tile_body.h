// The loops of tile_kernels.h over a class of tile operations (amx_tiles.h); internal linkage, see csr/vector.h.
#pragma once
#include <algorithm>
#include <cstring>

#include "kernels/bsr_int8/tile_kernels.h"
#include "kernels/each_tile.h"

namespace jouleprune::kernels::bsr_int8 {
namespace {

constexpr int64_t kLine = 64;  // bytes of a quad of 16 batch rows

/// 64 bytes that move at once.
using Line [[gnu::vector_size(64), gnu::may_alias]] = char;

/// One band and a panel of kBatch tiles of batch rows. Sums are tiles [strip * kBatch + batch], the others follow.
template <class Tiles, int kStrips, int kBatch>
class BandProduct {
 public:
  BandProduct(Tiles& tiles, const TileWeight& w, const char* panel) : tiles_(tiles), w_(w), panel_(panel) {}

  void run(int64_t band, int32_t* sums) {
    for_each_tile<kSums>([&]<int t>() {  // every batch row alike
      tiles_.template load<t>(w_.start + (band * kStrips + t / kBatch) * kTileSide * kTileSide, kLine);
    });
    const int64_t begin = w_.offsets[band], end = w_.offsets[band + 1];
    for (int64_t step = begin; step < std::min(end, begin + kAhead); ++step) {
      gather(step);
    }
    for (int64_t step = begin; step < end; ++step) {
      const char* const quads = quads_of(step);
      if (step + kAhead < end) {
        gather(step + kAhead);
      }
      const int8_t* const values = w_.values + step * kStrips * kTileBytes;
      for_each_tile<kStrips>([&]<int s>() { tiles_.template load<kWeights + s>(values + s * kTileBytes, kLine); });
      for_each_tile<kBatch>([&]<int b>() {
        constexpr int kInput = kInputs + b;
        tiles_.template load<kInput>(quads + b * kLine, kStride);
        for_each_tile<kStrips>([&]<int s>() { tiles_.template multiply_bytes<s * kBatch + b, kWeights + s, kInput>(); });
      });
    }
    for_each_tile<kSums>([&]<int t>() {
      tiles_.template store<t>(sums + (t / kBatch * kTileSide * kBatch + t % kBatch) * kTileSide, kStride);
    });
  }

 private:
  static constexpr int kSums = kStrips * kBatch, kWeights = kSums, kInputs = kWeights + kStrips;
  static_assert(kInputs + kBatch <= 8);
  static constexpr int64_t kStride = kBatch * kLine;  // from a quad to the next, and from an output's sums to the next

  // Gathered some steps ahead: a tile that is loaded from lines that stores have yet to reach waits for them.
  static constexpr int64_t kAhead = 2, kBuffers = 4;
  static_assert(kBuffers > kAhead);

  char* buffer(int64_t step) { return lines_[step % kBuffers]; }

  void gather(int64_t step) {
    const int32_t place = w_.places[step];
    if (place >= 0) {
      return;
    }
    const int32_t* const quads = w_.gathered + (-1 - place) * kTileSide;
    char* const to = buffer(step);
    for (int64_t k = 0; k < kTileSide; ++k) {
      for (int64_t b = 0; b < kBatch; ++b) {
        *reinterpret_cast<Line*>(to + (k * kBatch + b) * kLine) = *reinterpret_cast<const Line*>(panel_ + quads[k] * kStride + b * kLine);
      }
    }
  }

  /// Quad by quad, kStride apart.
  const char* quads_of(int64_t step) {
    const int32_t place = w_.places[step];
    return place >= 0 ? panel_ + place * kStride : buffer(step);
  }

  Tiles& tiles_;
  const TileWeight& w_;
  const char* panel_;
  alignas(64) char lines_[kBuffers][kTileSide * kBatch * kLine];
};

template <class Tiles, int kStrips, int kBatch>
void multiply_bands(const TileWeight& w, int64_t begin, int64_t end, const int32_t* panel, int32_t* sums) {
  Tiles tiles;
  BandProduct<Tiles, kStrips, kBatch> product(tiles, w, reinterpret_cast<const char*>(panel));
  for (int64_t band = begin; band < end; ++band) {
    product.run(band, sums + (band - begin) * kStrips * kTileSide * kBatch * kTileSide);
  }
}

template <class Tiles>
void multiply_tiles(const TileWeight& w, int64_t begin, int64_t end, const int32_t* panel, int64_t width, int32_t* sums) {
  const bool one = width == kTileSide;
  const auto run = [&](auto* bands) { bands(w, begin, end, panel, sums); };
  if (w.strips == 2) {
    return one ? run(&multiply_bands<Tiles, 2, 1>) : run(&multiply_bands<Tiles, 2, 2>);
  }
  one ? run(&multiply_bands<Tiles, 1, 1>) : run(&multiply_bands<Tiles, 1, 2>);
}

}  // namespace
}  // namespace jouleprune::kernels::bsr_int8
