// Gradient of the kept values of a csr weight on tensor cores: tiles of 64 x 64 are multiplied densely, those in which
// nothing is kept are not in the list, and of the others only kept entries are stored, in their order: neither a dense
// gradient nor an index per entry is written or read.
#pragma once
#include "csr/mask_tiles.h"
#include "csr/masked_params.h"
#include "gradient_tile.h"

namespace jouleprune::cuda::csr {

template <class T_>
struct MaskedGradient {
  using T = T_;
  using Params = MaskedParams;
  using Tile = GradientTile<T, kMaskTile / 16>;
  static constexpr int kThreads = Tile::kThreads, kPitch = kMaskTile + 1;  // floats; the 1 moves rows to other banks
  static constexpr uint32_t kShared = Tile::kShared;
  static_assert(kMaskTile * kPitch * 4 <= kShared && Tile::kInputs == kMaskTile);

  static simt::Grid grid(const Params& p) { return {p.count, 1}; }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const int64_t at = ctx.block_x();
    const auto row = static_cast<int64_t>(ctx.load(p.tiles + 2 * at)) * kMaskTile;
    const auto column = static_cast<int64_t>(ctx.load(p.tiles + 2 * at + 1)) * kMaskTile;
    Tile tile;
    tile.accumulate(
        ctx, {p.dy, p.pitch, p.n, 0}, {p.x, p.pitch, p.n, 0},
        [&](int line) { return Line{row + line < p.rows ? row + line : int64_t{-1}}; },
        [&](int line) { return Line{column + line < p.cols ? column + line : int64_t{-1}}; });
    tile.each_sum(ctx,
                  [&](int r, int c, float sum) { ctx.store_shared(static_cast<uint32_t>(r * kPitch + c) * 4, sum); });
    ctx.sync();
    // A warp per row, two columns per lane: what is kept of a row is contiguous.
    for (int r = ctx.warp(); r < kMaskTile; r += Tile::kWarps) {
      const uint32_t low = ctx.load(p.masks + (at * kMaskTile + r) * 2),
                     high = ctx.load(p.masks + (at * kMaskTile + r) * 2 + 1);
      const uint32_t below = (1u << ctx.lane()) - 1;
      auto* to = static_cast<T*>(p.gradient) + ctx.load(p.firsts + at * kMaskTile + r);
      const uint32_t from = static_cast<uint32_t>(r * kPitch + ctx.lane()) * 4;
      if (low >> ctx.lane() & 1u) {
        ctx.store(to + ctx.popcount(low & below), simt::narrow<T>(ctx.template load_shared<float>(from)));
      }
      if (high >> ctx.lane() & 1u) {
        ctx.store(to + ctx.popcount(low) + ctx.popcount(high & below),
                  simt::narrow<T>(ctx.template load_shared<float>(from + 4 * simt::kLanes)));
      }
    }
  }
};

}  // namespace jouleprune::cuda::csr
