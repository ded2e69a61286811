// Gradient of the kept blocks: grad[entry, output, within] = sum over the batch of dy[row, output] x[row, column], only where a block
// is kept (a sampled dense-dense product). Both operands feature-major, 16-bit, sums in float32 on tensor cores. A block of threads
// has kRows outputs of a block row and 64 positions of it (as walks.h counts them), and walks along the batch.
#pragma once
#include "bsr/walks.h"
#include "simt/elements.h"
#include "swizzle.h"

namespace jouleprune::cuda::bsr {

struct GradientParams {
  WalkParams walk;          // kBlocks or kVectors; `values` is not read
  const void* x;            // [walk.inner, pitch], feature-major
  const void* dy;           // [outputs, pitch], feature-major
  int64_t pitch, n, outputs;
  int64_t most_positions;   // of any group
  void* gradient;           // as the values; 0 for padding
};

template <class T_, Walk kWalk, int kStrips>
struct BlockGradient {
  using T = T_;
  using Params = GradientParams;
  static constexpr int kWarps = 4, kThreads = kWarps * simt::kLanes, kStages = 3;
  static constexpr int kRows = 16 * kStrips, kPositions = 64, kDepth = 64;  // kDepth batch rows per step
  static constexpr int kChunks = kDepth / kChunkElements;
  static constexpr uint32_t kABytes = kRows * kDepth * 2, kStageBytes = kABytes + kPositions * kDepth * 2;
  static constexpr int kTiles = kPositions / kWarps / 8;  // of 8 positions, per warp
  // The result as it lies in the gradient: outputs of a vector, or positions of a block's row, are neighbours.
  static constexpr int kOutPitch = (kWalk == Walk::kVectors ? kRows : kPositions) + 8;
  static constexpr uint32_t kOutBytes = (kWalk == Walk::kVectors ? kPositions : kRows) * kOutPitch * 2;
  static constexpr uint32_t kShared = kStages * kStageBytes;
  static_assert(kShared <= 48 * 1024 && kOutBytes <= kShared);

  static simt::Grid grid(const Params& p) {
    return {p.walk.groups * (p.walk.r / kRows), simt::ceil_div<int64_t>(p.most_positions, kPositions)};
  }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    BlockGradient self;
    self.product(ctx, p);
  }

 private:
  int64_t group, first, count, p0;
  int output;
  simt::Sums sums[kStrips][kTiles];

  template <class Ctx>
  JP_BODY void product(const Ctx& ctx, const Params& p) {
    const auto& w = p.walk;
    const int64_t strips = w.r / kRows;
    group = ctx.block_x() / strips;
    output = static_cast<int>(ctx.block_x() - group * strips) * kRows;
    first = ctx.load(w.offsets + group);
    count = ctx.load(w.offsets + group + 1) - first;
    p0 = ctx.block_y() * kPositions;
    if (p0 >= count * positions_per_entry<kWalk>(w)) {
      return;  // a whole block of threads: block rows are of different lengths
    }
    JP_UNROLL for (int s = 0; s < kStrips; ++s) {
      JP_UNROLL for (int t = 0; t < kTiles; ++t) {
        sums[s][t] = {};
      }
    }
    const int64_t steps = simt::ceil_div<int64_t>(p.n, kDepth);
    for (int64_t step = 0; step < kStages - 1; ++step) {
      fetch(ctx, p, step, steps);
      ctx.copy_commit();
    }
    for (int64_t step = 0; step < steps; ++step) {
      ctx.template copy_wait<kStages - 2>();
      ctx.sync();
      fetch(ctx, p, step + kStages - 1, steps);
      ctx.copy_commit();
      multiply(ctx, static_cast<uint32_t>(step % kStages) * kStageBytes);
    }
    ctx.template copy_wait<0>();
    ctx.sync();
    stage_output(ctx);
    ctx.sync();
    store_output(ctx, p);
  }

  template <class Ctx>
  JP_BODY void fetch(const Ctx& ctx, const Params& p, int64_t step, int64_t steps) const {
    if (step >= steps) {
      return;
    }
    const uint32_t stage = static_cast<uint32_t>(step % kStages) * kStageBytes;
    for (int i = ctx.thread(); i < (kRows + kPositions) * kChunks; i += kThreads) {
      const int row = i / kChunks, along = i % kChunks;
      const int64_t from = step * kDepth + along * kChunkElements;
      if (row < kRows) {
        const int64_t out = group * p.walk.r + output + row;
        const bool present = out < p.outputs && from < p.pitch;
        ctx.copy_async(stage + swizzled<kChunks>(row, along), static_cast<const T*>(p.dy) + (present ? out * p.pitch + from : 0), present);
      } else {
        const auto at = position_of<kWalk>(ctx, p.walk, first, count, p0 + row - kRows);
        const bool present = at.row >= 0 && from < p.pitch;
        ctx.copy_async(stage + kABytes + swizzled<kChunks>(row - kRows, along),
                       static_cast<const T*>(p.x) + (present ? at.row * p.pitch + from : 0), present);
      }
    }
  }

  template <class Ctx>
  JP_BODY void multiply(const Ctx& ctx, uint32_t stage) {
    const int lane = ctx.lane();
    JP_UNROLL for (int slab = 0; slab < kDepth / 16; ++slab) {
      // Rows of x are positions, the columns of the operand: as they lie. Matrices in the order (k, tile).
      const auto b = ctx.template load_matrices<false>(
          stage + kABytes + swizzled<kChunks>(ctx.warp() * kTiles * 8 + lane % 8 + 8 * (lane / 16), 2 * slab + lane / 8 % 2));
      JP_UNROLL for (int s = 0; s < kStrips; ++s) {
        const auto a = ctx.template load_matrices<false>(stage + swizzled<kChunks>(16 * s + lane % 16, 2 * slab + lane / 16));
        JP_UNROLL for (int t = 0; t < kTiles; ++t) {
          ctx.template mma<T>(sums[s][t], a, b.r[2 * t], b.r[2 * t + 1]);
        }
      }
    }
  }

  template <class Ctx>
  JP_BODY void stage_output(const Ctx& ctx) const {
    const int lane = ctx.lane();
    JP_UNROLL for (int s = 0; s < kStrips; ++s) {
      JP_UNROLL for (int t = 0; t < kTiles; ++t) {
        JP_UNROLL for (int i = 0; i < 4; ++i) {
          const int row = 16 * s + lane / 4 + 8 * (i / 2), position = 8 * (ctx.warp() * kTiles + t) + 2 * (lane % 4) + i % 2;
          const int place = kWalk == Walk::kVectors ? position * kOutPitch + row : row * kOutPitch + position;
          ctx.store_shared(static_cast<uint32_t>(place) * 2, simt::narrow<T>(sums[s][t].v[i]));
        }
      }
    }
  }

  // Chunks of eight never straddle two blocks: their sizes are multiples of 8. Padding was zero in an operand.
  template <class Ctx>
  JP_BODY void store_output(const Ctx& ctx, const Params& p) const {
    const auto& w = p.walk;
    constexpr bool kVectors = kWalk == Walk::kVectors;
    constexpr int kPerLine = (kVectors ? kRows : kPositions) / kChunkElements;
    for (int i = ctx.thread(); i < kRows * kPositions / kChunkElements; i += kThreads) {
      const int line = i / kPerLine, along = i % kPerLine * kChunkElements;
      const int64_t position = p0 + (kVectors ? line : along);
      const int out = output + (kVectors ? along : line), per = positions_per_entry<kWalk>(w);
      const auto entry = static_cast<int64_t>(static_cast<uint32_t>(position) / static_cast<uint32_t>(per));
      if (entry < count) {
        const int64_t block = first + entry, within = position - entry * per;
        auto* to = static_cast<T*>(p.gradient) + (block * w.r + out) * per + within;
        ctx.store(reinterpret_cast<simt::Chunk*>(to),
                  ctx.template load_shared<simt::Chunk>(static_cast<uint32_t>(line * kOutPitch + along) * 2));
      }
    }
  }
};

}  // namespace jouleprune::cuda::bsr
