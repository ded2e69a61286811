// Product of a compressed weight (bitmap_groups.h, pair_groups.h) with feature-major activations on tensor cores, for
// few batch rows. kWarpsM warps have a strip of 16 rows each and share the activations; the others take every
// kWarpsK-th group of 64 columns. Weight and activations go to shared memory by asynchronous copies, two steps ahead.
// For few rows the columns are split among blocks, whose sums SumSplits adds in order.
#pragma once
#include "csr/bitmap_groups.h"
#include "csr/tile_params.h"
#include "csr/tiles.h"
#include "output_tile.h"
#include "pipeline.h"
#include "swizzle.h"

namespace jouleprune::cuda::csr {

/// Format: how a group of 16 rows x 64 columns is stored: kBytes of shared memory at most; fetch(ctx, params, group,
/// to) begins its copies; multiply(ctx, group, x, sums) adds its product.
template <class T_, int kTiles, int kWarpsM, class Format = BitmapGroups>
struct TileProduct {
  using T = T_;
  using Params = TileParams;
  static constexpr int kWarps = 4, kThreads = kWarps * simt::kLanes, kWarpsK = kWarps / kWarpsM, kStages = 3;
  static constexpr int kTokens = 8 * kTiles, kXChunks = kTiles;
  static constexpr uint32_t kWarpBytes = Format::kBytes;
  static constexpr uint32_t kXBytes = kGroupColumns * kTokens * 2,
                            kStageBytes = kWarps * kWarpBytes + kWarpsK * kXBytes;
  using Output = OutputTile<T, 16 * kWarpsM, kTokens>;
  static constexpr uint32_t kSumsAt = Output::kBytes,
                            kSumBytes = (kWarpsK - 1) * kWarpsM * kTiles * 4 * simt::kLanes * 4;
  static constexpr uint32_t kShared = kStages * kStageBytes;
  static_assert(kSumsAt + kSumBytes <= kShared && kShared <= 64 * 1024, "what the smallest of the architectures has");

  static JP_ANYWHERE int64_t token_tiles(int64_t n) { return simt::ceil_div<int64_t>(n, kTokens); }
  static simt::Grid grid(const Params& p) {
    return {simt::ceil_div<int64_t>(strips_of(p.rows), kWarpsM), token_tiles(p.n) * p.splits};
  }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    TileProduct self;
    self.product(ctx, p);
  }

 private:
  int64_t strip, split, token, first, end;  // groups first .. end - 1 of the strip
  simt::Sums sums[kTiles];

  template <class Ctx>
  JP_BODY void product(const Ctx& ctx, const Params& p) {
    const int64_t groups = groups_per_strip(p.cols), each = simt::ceil_div<int64_t>(groups, p.splits);
    strip = ctx.block_x() * kWarpsM + ctx.warp() % kWarpsM;
    split = ctx.block_y() % p.splits;
    token = ctx.block_y() / p.splits * kTokens;
    first = split * each < groups ? split * each : groups;
    end = first + each < groups ? first + each : groups;
    const int64_t steps = simt::ceil_div<int64_t>(end - first, kWarpsK);
    JP_UNROLL for (int t = 0; t < kTiles; ++t) { sums[t] = {}; }
    pipelined<kStages>(
        ctx, steps, [&](int64_t step, uint32_t stage) { fetch(ctx, p, step, stage * kStageBytes); },
        [&](int64_t step, uint32_t stage) {
          if (strip < strips_of(p.rows) && first + step * kWarpsK + warp_k(ctx) < end) {  // a whole warp
            const uint32_t from = stage * kStageBytes;
            Format::template multiply<T, kTiles>(ctx, from + static_cast<uint32_t>(ctx.warp()) * kWarpBytes,
                                                 x_at(ctx, from), sums);
          }
        });
    add_sums_of_warps(ctx);
    finish(ctx, p);
  }

  template <class Ctx>
  static JP_BODY int warp_k(const Ctx& ctx) {
    return ctx.warp() / kWarpsM;
  }

  template <class Ctx>
  JP_BODY void fetch(const Ctx& ctx, const Params& p, int64_t step, uint32_t stage) const {
    const int64_t group = first + step * kWarpsK + warp_k(ctx);
    if (group >= end) {
      return;
    }
    // Activations, by the warps that share them.
    const int among = ctx.warp() % kWarpsM * simt::kLanes + ctx.lane();
    for (int i = among; i < kGroupColumns * kXChunks; i += kWarpsM * simt::kLanes) {
      const int row = i / kXChunks, along = i % kXChunks;
      const int64_t column = group * kGroupColumns + row, from = token + along * kChunkElements;
      const bool present = column < p.cols && from < p.pitch;
      ctx.copy_async(x_at(ctx, stage) + swizzled<kXChunks>(row, along),
                     static_cast<const T*>(p.x) + (present ? column * p.pitch + from : 0), present);
    }
    if (strip >= strips_of(p.rows)) {
      return;
    }
    Format::template fetch<T>(ctx, p, strip * groups_per_strip(p.cols) + group,
                              stage + static_cast<uint32_t>(ctx.warp()) * kWarpBytes);
  }

  template <class Ctx>
  static JP_BODY uint32_t x_at(const Ctx& ctx, uint32_t stage) {
    return stage + kWarps * kWarpBytes + static_cast<uint32_t>(warp_k(ctx)) * kXBytes;
  }

  template <class Ctx>
  JP_BODY void add_sums_of_warps(const Ctx& ctx) {
    if constexpr (kWarpsK > 1) {
      const auto at = [&](int k, int t, int i) {
        const int index = ((k - 1) * kWarpsM + ctx.warp() % kWarpsM) * kTiles + t;
        return kSumsAt + static_cast<uint32_t>((index * 4 + i) * simt::kLanes + ctx.lane()) * 4;
      };
      JP_UNROLL for (int t = 0; t < kTiles; ++t) {
        JP_UNROLL for (int i = 0; i < 4; ++i) {
          if (warp_k(ctx) > 0) {
            ctx.store_shared(at(warp_k(ctx), t, i), sums[t].v[i]);
          }
        }
      }
      ctx.sync();
      for (int k = 1; warp_k(ctx) == 0 && k < kWarpsK; ++k) {
        JP_UNROLL for (int t = 0; t < kTiles; ++t) {
          JP_UNROLL for (int i = 0; i < 4; ++i) { sums[t].v[i] += ctx.template load_shared<float>(at(k, t, i)); }
        }
      }
    }
  }

  template <class Ctx>
  JP_BODY void finish(const Ctx& ctx, const Params& p) const {
    const int warp_m = ctx.warp() % kWarpsM;
    const bool mine = warp_k(ctx) == 0;
    if (p.splits > 1) {
      // [split, strip, 16, tokens]: SumSplits adds them.
      const int64_t tokens = token_tiles(p.n) * kTokens;
      JP_UNROLL for (int t = 0; t < kTiles; ++t) {
        JP_UNROLL for (int i = 0; i < 4; ++i) {
          const int row = ctx.lane() / 4 + 8 * (i / 2), column = 8 * t + 2 * (ctx.lane() % 4) + i % 2;
          if (mine && strip < strips_of(p.rows)) {
            ctx.store(p.partial + ((split * strips_of(p.rows) + strip) * 16 + row) * tokens + token + column,
                      sums[t].v[i]);
          }
        }
      }
      return;
    }
    const OutputPlace place{ctx.block_x() * kWarpsM * 16, token, p.rows, p.n};
    JP_UNROLL for (int t = 0; t < kTiles; ++t) {
      if (mine) {
        Output::put(ctx, p.epilogue, place, 16 * warp_m, 8 * t, sums[t]);
      }
    }
    ctx.sync();
    Output::template store<kThreads>(ctx, place, p.y, p.whole_chunks);
  }
};

/// y = epilogue(sum over the splits, in their order).
struct SumSplitsParams {
  const float* partial;  // [splits, rows_padded, tokens_padded]
  int64_t rows, n, rows_padded, tokens_padded;
  int32_t splits;
  void* y;  // [n, rows]
  Epilogue epilogue;
};

template <class T>
struct SumSplits {
  using Params = SumSplitsParams;
  static constexpr int kThreads = 256;
  static constexpr uint32_t kShared = 0;

  static simt::Grid grid(const Params& p) { return {simt::ceil_div<int64_t>(p.rows * p.n, kThreads), 1}; }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const int64_t i = ctx.block_x() * kThreads + ctx.thread();
    if (i >= p.rows * p.n) {
      return;
    }
    const int64_t token = i / p.rows, row = i - token * p.rows;
    float sum = 0;
    for (int32_t split = 0; split < p.splits; ++split) {
      sum += ctx.load(p.partial + (split * p.rows_padded + row) * p.tokens_padded + token);
    }
    ctx.store(static_cast<T*>(p.y) + i, finished<T>(ctx, p.epilogue, sum, row, i));
  }
};

}  // namespace jouleprune::cuda::csr
