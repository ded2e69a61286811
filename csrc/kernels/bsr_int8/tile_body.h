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

/// Where the right factor of a step lies: quad by quad, `stride` bytes apart.
struct Quads {
  const char* from;
  int64_t stride;
};

/// One band and kBatch tiles of batch rows of a panel. Sums are tiles [strip * kBatch + batch], the others follow.
template <class Tiles, int kStrips, int kBatch>
class BandProduct {
 public:
  BandProduct(Tiles& tiles, const TileWeight& w, const char* panel, int64_t width) : tiles_(tiles), w_(w), panel_(panel), stride_(width * 4) {}

  void run(int64_t band, int32_t* sums) {
    for_each_tile<kSums>([&]<int t>() {  // every batch row alike
      tiles_.template load<t>(w_.start + (band * kStrips + t / kBatch) * kTileSide * kTileSide, kLine);
    });
    const int64_t begin = w_.offsets[band], end = w_.offsets[band + 1];
    for (int64_t step = begin; step < std::min(end, begin + kAhead); ++step) {
      gather(step);
    }
    for (int64_t step = begin; step < end; ++step) {
      const Quads quads = quads_of(step);
      if (step + kAhead < end) {
        gather(step + kAhead);
      }
      const int8_t* const values = w_.values + step * kStrips * kTileBytes;
      for_each_tile<kStrips>([&]<int s>() { tiles_.template load<kWeights + s>(values + s * kTileBytes, kLine); });
      for_each_tile<kBatch>([&]<int b>() {
        constexpr int kInput = kInputs + b % kFree;
        tiles_.template load<kInput>(quads.from + b * kLine, quads.stride);
        for_each_tile<kStrips>([&]<int s>() { tiles_.template multiply_bytes<s * kBatch + b, kWeights + s, kInput>(); });
      });
    }
    for_each_tile<kSums>([&]<int t>() {
      tiles_.template store<t>(sums + t / kBatch * kTileSide * (stride_ / 4) + t % kBatch * kTileSide, stride_);
    });
  }

 private:
  static constexpr int kSums = kStrips * kBatch, kWeights = kSums, kInputs = kWeights + kStrips;
  static constexpr int kFree = 8 - kInputs;  // tiles of activations that can be under way at once
  static_assert(kFree >= 1);

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
        *reinterpret_cast<Line*>(to + (k * kBatch + b) * kLine) = *reinterpret_cast<const Line*>(panel_ + quads[k] * stride_ + b * kLine);
      }
    }
  }

  Quads quads_of(int64_t step) {
    const int32_t place = w_.places[step];
    return place >= 0 ? Quads{panel_ + place * stride_, stride_} : Quads{buffer(step), kBatch * kLine};
  }

  Tiles& tiles_;
  const TileWeight& w_;
  const char* panel_;
  int64_t stride_;
  alignas(64) char lines_[kBuffers][kTileSide * kBatch * kLine];
};

template <class Tiles, int kStrips, int kBatch>
void multiply_band(Tiles& tiles, const TileWeight& w, int64_t band, const int32_t* panel, int64_t width, int64_t first, int32_t* sums) {
  BandProduct<Tiles, kStrips, kBatch>(tiles, w, reinterpret_cast<const char*>(panel + first), width).run(band, sums + first);
}

template <class Tiles>
void multiply_tiles(const TileWeight& w, int64_t begin, int64_t end, const int32_t* panel, int64_t width, int32_t* sums) {
  Tiles tiles;
  for (int64_t band = begin; band < end; ++band) {
    int32_t* const to = sums + (band - begin) * w.strips * kTileSide * width;
    const auto run = [&](auto* multiply, int64_t first) { multiply(tiles, w, band, panel, width, first, to); };
    if (w.strips == 2) {  // two tiles of batch rows at a time
      for (int64_t first = 0; first < width; first += 2 * kTileSide) {
        width - first == kTileSide ? run(&multiply_band<Tiles, 2, 1>, first) : run(&multiply_band<Tiles, 2, 2>, first);
      }
      continue;
    }
    switch (width / kTileSide) {
      case 1: run(&multiply_band<Tiles, 1, 1>, 0); break;
      case 2: run(&multiply_band<Tiles, 1, 2>, 0); break;
      case 3: run(&multiply_band<Tiles, 1, 3>, 0); break;
      default: run(&multiply_band<Tiles, 1, 4>, 0);
    }
  }
}

}  // namespace
}  // namespace jouleprune::kernels::bsr_int8
