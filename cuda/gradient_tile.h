// What gradients of weights share: a tile of dy x^T over the batch on tensor cores. Both operands are feature-major,
// 16-bit, sums in float32. A block of threads has kRows outputs and 64 inputs, which may be any rows of the two; it
// walks along the batch.
#pragma once
#include "simt/elements.h"
#include "swizzle.h"

namespace jouleprune::cuda {

template <class T, int kStrips>
struct GradientTile {
  static constexpr int kWarps = 4, kThreads = kWarps * simt::kLanes, kStages = 3;
  static constexpr int kRows = 16 * kStrips, kInputs = 64, kDepth = 64;  // kDepth batch rows per step
  static constexpr int kChunks = kDepth / kChunkElements;
  static constexpr uint32_t kABytes = kRows * kDepth * 2, kStageBytes = kABytes + kInputs * kDepth * 2;
  static constexpr uint32_t kShared = kStages * kStageBytes;
  static constexpr int kTiles = kInputs / kWarps / 8;  // of 8 inputs, per warp
  static_assert(kShared <= 48 * 1024, "beyond 48 KB a launch must ask");

  struct Operands {
    const void *dy, *x;  // [features, pitch], zero beyond n
    int64_t pitch, n;
  };

  simt::Sums sums[kStrips][kTiles];

  /// dy_row(line), x_row(line): which row of the operands a line of the tile is; -1: zeros. Ends behind a barrier:
  /// shared memory is free.
  template <class Ctx, class DyRow, class XRow>
  JP_BODY void accumulate(const Ctx& ctx, const Operands& operands, const DyRow& dy_row, const XRow& x_row) {
    JP_UNROLL for (int s = 0; s < kStrips; ++s) {
      JP_UNROLL for (int t = 0; t < kTiles; ++t) { sums[s][t] = {}; }
    }
    const int64_t steps = simt::ceil_div<int64_t>(operands.n, kDepth);
    for (int64_t step = 0; step < kStages - 1; ++step) {
      fetch(ctx, operands, dy_row, x_row, step, steps);
      ctx.copy_commit();
    }
    for (int64_t step = 0; step < steps; ++step) {
      ctx.template copy_wait<kStages - 2>();
      ctx.sync();
      fetch(ctx, operands, dy_row, x_row, step + kStages - 1, steps);
      ctx.copy_commit();
      multiply(ctx, static_cast<uint32_t>(step % kStages) * kStageBytes);
    }
    ctx.template copy_wait<0>();
    ctx.sync();
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
  template <class Ctx, class DyRow, class XRow>
  static JP_BODY void fetch(const Ctx& ctx, const Operands& o, const DyRow& dy_row, const XRow& x_row, int64_t step,
                            int64_t steps) {
    if (step >= steps) {
      return;
    }
    const uint32_t stage = static_cast<uint32_t>(step % kStages) * kStageBytes;
    for (int i = ctx.thread(); i < (kRows + kInputs) * kChunks; i += kThreads) {
      const int line = i / kChunks, along = i % kChunks;
      const bool is_dy = line < kRows;
      const int64_t from = step * kDepth + along * kChunkElements, row = is_dy ? dy_row(line) : x_row(line - kRows);
      const bool present = row >= 0 && from < o.pitch;
      const uint32_t to =
          is_dy ? stage + swizzled<kChunks>(line, along) : stage + kABytes + swizzled<kChunks>(line - kRows, along);
      ctx.copy_async(to, static_cast<const T*>(is_dy ? o.dy : o.x) + (present ? row * o.pitch + from : 0), present);
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
