// Bitmap tiles (tiles.h) as TileProduct reads them: what is read is compressed, what is multiplied is dense. A lane
// finds its values by one count of bits and picks them one by one. Zeros multiply: infinity or NaN in an input shows as
// in a dense product.
#pragma once
#include "csr/tile_params.h"
#include "csr/tiles.h"
#include "simt/elements.h"
#include "swizzle.h"

namespace jouleprune::cuda::csr {

/// The B operands of 16 positions of activations and two tiles of 8 batch rows (of one tile, twice).
template <int kTiles, class Ctx>
JP_BODY simt::Fragment load_activations(const Ctx& ctx, uint32_t x, int first_position, int pair) {
  const int lane = ctx.lane(), along = 2 * pair + (kTiles == 1 ? 0 : lane / 16);
  return ctx.template load_matrices<true>(x + swizzled<kTiles>(first_position + lane % 16, along));
}

struct BitmapGroups {
  static constexpr uint32_t kBytes = kHeaderBytes + kMostGroupValues * 2;

  template <class T, class Ctx>
  static JP_BODY void fetch(const Ctx& ctx, const TileParams& p, int64_t group, uint32_t to) {
    if (ctx.lane() < static_cast<int>(kHeaderBytes / 16)) {
      ctx.copy_async(to + static_cast<uint32_t>(ctx.lane()) * 16, p.headers + group * kHeaderBytes + ctx.lane() * 16,
                     true);
    }
    const int64_t begin = ctx.load(p.starts + group), chunks = ctx.load(p.starts + group + 1) - begin;
    for (int i = ctx.lane(); i < chunks; i += simt::kLanes) {
      ctx.copy_async(to + kHeaderBytes + static_cast<uint32_t>(i) * 16,
                     static_cast<const T*>(p.values) + (begin + i) * kChunkElements, true);
    }
  }

  template <class T, int kTiles, class Ctx>
  static JP_BODY void multiply(const Ctx& ctx, uint32_t group, uint32_t x, simt::Sums (&sums)[kTiles]) {
    JP_UNROLL for (int tile = 0; tile < kTilesPerGroup; ++tile) {
      const auto a = decoded(ctx, group, tile);
      JP_UNROLL for (int pair = 0; pair < (kTiles + 1) / 2; ++pair) {
        const auto b = load_activations<kTiles>(ctx, x, 16 * tile, pair);
        ctx.template mma<T>(sums[2 * pair], a, b.r[0], b.r[1]);
        if constexpr (kTiles > 1) {
          ctx.template mma<T>(sums[2 * pair + 1], a, b.r[2], b.r[3]);
        }
      }
    }
  }

 private:
  // A lane's eight elements: zeros, and its values, which follow each other.
  template <class Ctx>
  static JP_BODY simt::Fragment decoded(const Ctx& ctx, uint32_t group, int tile) {
    const auto word_index = static_cast<uint32_t>(ctx.lane() / 4), t = static_cast<uint32_t>(tile);
    const uint32_t word = ctx.template load_shared<uint32_t>(group + 32 * t + 4 * word_index);
    const int shift = 8 * (ctx.lane() % 4);
    const uint32_t kept = word >> shift & 0xffu;
    uint32_t at = ctx.template load_shared<uint16_t>(group + kBasesAt + 2 * t) +
                  ctx.template load_shared<uint8_t>(group + kCountsAt + 8 * t + word_index) +
                  static_cast<uint32_t>(ctx.popcount(word & ((1u << shift) - 1)));
    simt::Fragment a{};
    JP_UNROLL for (int i = 0; i < 8; ++i) {
      if (kept >> i & 1u) {
        a.r[i / 2] |= static_cast<uint32_t>(ctx.template load_shared<uint16_t>(group + kHeaderBytes + 2 * at))
                      << (16 * (i & 1));
        ++at;
      }
    }
    return a;
  }
};

}  // namespace jouleprune::cuda::csr
