// What gradients of weights share: a tile of dy x^T over the batch on tensor cores. Both operands are feature-major,
// 16-bit, sums in float32. A block of threads has kRows outputs and 64 inputs, which may be any rows of the two; it
// walks along the batch.
#pragma once
#include "pipeline.h"
#include "rows.h"
#include "simt/elements.h"
#include "swizzle.h"

namespace jouleprune::cuda {

/// Source: where the operands lie (rows.h).
template <class T, int kStrips, class Source = Rows>
struct GradientTile {
  static constexpr int kWarps = 4, kThreads = kWarps * simt::kLanes, kStages = 3;
  static constexpr int kRows = 16 * kStrips, kInputs = 64, kDepth = 64;  // kDepth batch rows per step
  static constexpr int kChunks = kDepth / kChunkElements;
  static constexpr uint32_t kABytes = kRows * kDepth * 2, kStageBytes = kABytes + kInputs * kDepth * 2;
  static constexpr uint32_t kShared = kStages * kStageBytes;
  static constexpr int kTiles = kInputs / kWarps / 8;  // of 8 inputs, per warp
  static_assert(kShared <= 48 * 1024, "beyond 48 KB a launch must ask");

  simt::Sums sums[kStrips][kTiles];

  /// dy_line(row), x_line(input): which line of the operands a line of the tile is. Ends behind a barrier: shared memory
  /// is free.
  template <class Ctx, class DyLine, class XLine>
  JP_BODY void accumulate(const Ctx& ctx, const Source& dy, const Source& x, const DyLine& dy_line, const XLine& x_line) {
    JP_UNROLL for (int s = 0; s < kStrips; ++s) {
      JP_UNROLL for (int t = 0; t < kTiles; ++t) { sums[s][t] = {}; }
    }
    pipelined<kStages>(
        ctx, simt::ceil_div<int64_t>(dy.tokens(), kDepth),
        [&](int64_t step, uint32_t stage) { fetch(ctx, dy, x, dy_line, x_line, step * kDepth, stage * kStageBytes); },
        [&](int64_t, uint32_t stage) { multiply(ctx, stage * kStageBytes); });
  }

  /// put(row, input, sum) for each of a lane's sums.
  template <class Ctx, class Put>
  JP_BODY void each_sum(const Ctx& ctx, const Put& put) const {
    const int lane = ctx.lane();
    JP_UNROLL for (int s = 0; s < kStrips; ++s) {
      JP_UNROLL for (int t = 0; t < kTiles; ++t) {
        JP_UNROLL for (int i = 0; i < 4; ++i) {
          put(16 * s + lane / 4 + 8 * (i / 2), 8 * (ctx.warp() * kTiles + t) + 2 * (lane % 4) + i % 2, sums[s][t].v[i]);
        }
      }
    }
  }

 private:
  template <class Ctx, class DyLine, class XLine>
  static JP_BODY void fetch(const Ctx& ctx, const Source& dy, const Source& x, const DyLine& dy_line,
                            const XLine& x_line, int64_t token, uint32_t stage) {
    static_assert(kThreads % kChunks == 0, "a thread copies the same batch rows of every line");
    const int64_t mine = token + ctx.thread() % kChunks * kChunkElements;
    const auto dy_cursor = dy.cursor(mine), x_cursor = x.cursor(mine);
    for (int i = ctx.thread(); i < (kRows + kInputs) * kChunks; i += kThreads) {
      const int line = i / kChunks, along = i % kChunks;
      const bool is_dy = line < kRows;
      const int64_t from = is_dy ? dy.at(dy_line(line), dy_cursor) : x.at(x_line(line - kRows), x_cursor);
      const uint32_t to =
          is_dy ? stage + swizzled<kChunks>(line, along) : stage + kABytes + swizzled<kChunks>(line - kRows, along);
      ctx.copy_async(to, static_cast<const T*>(is_dy ? dy.data : x.data) + (from >= 0 ? from : 0), from >= 0);
    }
  }

  template <class Ctx>
  JP_BODY void multiply(const Ctx& ctx, uint32_t stage) {
    const int lane = ctx.lane();
    JP_UNROLL for (int slab = 0; slab < kDepth / 16; ++slab) {
      // Rows of x are the columns of the operand: as they lie. Matrices in the order (batch, tile).
      const auto b = ctx.template load_matrices<false>(
          stage + kABytes +
          swizzled<kChunks>(ctx.warp() * kTiles * 8 + lane % 8 + 8 * (lane / 16), 2 * slab + lane / 8 % 2));
      JP_UNROLL for (int s = 0; s < kStrips; ++s) {
        const auto a =
            ctx.template load_matrices<false>(stage + swizzled<kChunks>(16 * s + lane % 16, 2 * slab + lane / 16));
        JP_UNROLL for (int t = 0; t < kTiles; ++t) { ctx.template mma<T>(sums[s][t], a, b.r[2 * t], b.r[2 * t + 1]); }
      }
    }
  }
};

}  // namespace jouleprune::cuda
