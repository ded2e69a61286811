// Structure 2:4 (pairs.h) as TileProduct reads it: half of the values are read, and half of the products are done.
#pragma once
#include "csr/bitmap_groups.h"
#include "csr/pairs.h"

namespace jouleprune::cuda::csr {

struct PairGroups {
  static constexpr uint32_t kBytes = kPairHeaderBytes + kPairValues * 2;

  template <class T, class Ctx>
  static JP_BODY void fetch(const Ctx& ctx, const TileParams& p, int64_t group, uint32_t to) {
    if (ctx.lane() < static_cast<int>(kPairHeaderBytes / 16)) {
      ctx.copy_async(to + static_cast<uint32_t>(ctx.lane()) * 16,
                     p.headers + group * kPairHeaderBytes + ctx.lane() * 16, true);
    }
    JP_UNROLL for (int product = 0; product < 2; ++product) {
      const int chunk = product * simt::kLanes + ctx.lane();
      ctx.copy_async(to + kPairHeaderBytes + static_cast<uint32_t>(chunk) * 16,
                     static_cast<const T*>(p.values) + group * kPairValues + chunk * kChunkElements, true);
    }
  }

  template <class T, int kTiles, class Ctx>
  static JP_BODY void multiply(const Ctx& ctx, uint32_t group, uint32_t x, simt::Sums (&sums)[kTiles]) {
    const auto lane = static_cast<uint32_t>(ctx.lane());
    const uint32_t metadata = ctx.template load_shared<uint32_t>(group + 4 * lane);
    product<T, kTiles, 0>(ctx, group, x, metadata, sums);
    product<T, kTiles, 1>(ctx, group, x, metadata, sums);
  }

 private:
  template <class T, int kTiles, int kProduct, class Ctx>
  static JP_BODY void product(const Ctx& ctx, uint32_t group, uint32_t x, uint32_t metadata,
                              simt::Sums (&sums)[kTiles]) {
    const auto chunk = static_cast<uint32_t>(kProduct * simt::kLanes + ctx.lane());
    const auto words = ctx.template load_shared<simt::Chunk>(group + kPairHeaderBytes + 16 * chunk);
    const simt::Fragment a{{words.words[0], words.words[1], words.words[2], words.words[3]}};
    JP_UNROLL for (int pair = 0; pair < (kTiles + 1) / 2; ++pair) {
      const auto low = load_activations<kTiles>(ctx, x, 32 * kProduct, pair),
                 high = load_activations<kTiles>(ctx, x, 32 * kProduct + 16, pair);
      ctx.template mma_sparse<T, kProduct>(sums[2 * pair], a, {{low.r[0], low.r[1], high.r[0], high.r[1]}}, metadata);
      if constexpr (kTiles > 1) {
        ctx.template mma_sparse<T, kProduct>(sums[2 * pair + 1], a, {{low.r[2], low.r[3], high.r[2], high.r[3]}},
                                             metadata);
      }
    }
  }
};

}  // namespace jouleprune::cuda::csr
