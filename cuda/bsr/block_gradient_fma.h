// Gradient of the kept blocks by multiply-adds, for float32, float64 and blocks of any size. A block of threads has 16
// outputs and 64 positions of a block row; each warp has four of the outputs, each lane two positions.
#pragma once
#include "bsr/block_gradient.h"

namespace jouleprune::cuda::bsr {

template <class T_>
struct BlockGradientFma {
  using T = T_;
  using Sum = simt::SumOf<T>;
  using Params = GradientParams;
  static constexpr Walk kWalk = Walk::kBlocks;  // vectors are blocks of one column here
  static constexpr int kThreads = 128, kRows = 16, kPositions = 64, kDepth = 16, kRowsPerWarp = 4, kPerLane = 2;
  // Batch rows are neighbours in both operands: one element more per line keeps lanes, which read down the lines, in
  // different banks.
  static constexpr int kPitch = kDepth + 1;
  static constexpr uint32_t kABytes = kRows * kPitch * sizeof(Sum),
                            kShared = kABytes + kPositions * kPitch * sizeof(Sum);

  static simt::Grid grid(const Params& p) {
    return {p.walk.groups * simt::ceil_div(p.walk.r, kRows), simt::ceil_div<int64_t>(p.most_positions, kPositions)};
  }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const auto& w = p.walk;
    const int64_t strips = simt::ceil_div(w.r, kRows), group = ctx.block_x() / strips;
    const int output = static_cast<int>(ctx.block_x() - group * strips) * kRows;
    const int64_t first = ctx.load(w.offsets + group), count = ctx.load(w.offsets + group + 1) - first;
    const int64_t p0 = ctx.block_y() * kPositions;
    if (p0 >= count * w.c) {
      return;  // a whole block of threads
    }
    Sum sums[kRowsPerWarp][kPerLane] = {};
    for (int64_t token = 0; token < p.n; token += kDepth) {
      for (int i = ctx.thread(); i < (kRows + kPositions) * kDepth; i += kThreads) {
        const int line = i / kDepth, along = i % kDepth;
        const bool is_dy = line < kRows;
        const int64_t out = group * w.r + output + line;
        const int64_t row = is_dy ? (output + line < w.r && out < p.outputs ? out : -1)
                                  : position_of<kWalk>(ctx, w, first, count, p0 + line - kRows).row;
        const auto* from = static_cast<const T*>(is_dy ? p.dy : p.x) + row * p.pitch + token + along;
        const bool present = row >= 0 && token + along < p.n;
        ctx.store_shared(at(line, along), present ? static_cast<Sum>(simt::widen(ctx.load(from))) : Sum(0));
      }
      ctx.sync();
      for (int depth = 0; depth < kDepth; ++depth) {
        Sum x[kPerLane];
        JP_UNROLL for (int j = 0; j < kPerLane; ++j) {
          x[j] = ctx.template load_shared<Sum>(at(kRows + ctx.lane() + j * simt::kLanes, depth));
        }
        JP_UNROLL for (int i = 0; i < kRowsPerWarp; ++i) {
          const Sum dy = ctx.template load_shared<Sum>(at(ctx.warp() * kRowsPerWarp + i, depth));
          JP_UNROLL for (int j = 0; j < kPerLane; ++j) { sums[i][j] += dy * x[j]; }
        }
      }
      ctx.sync();
    }
    JP_UNROLL for (int i = 0; i < kRowsPerWarp; ++i) {
      JP_UNROLL for (int j = 0; j < kPerLane; ++j) {
        const int out = output + ctx.warp() * kRowsPerWarp + i;
        const int64_t position = p0 + ctx.lane() + j * simt::kLanes, entry = position / w.c;
        if (out < w.r && entry < count) {
          auto* to = static_cast<T*>(p.gradient) + ((first + entry) * w.r + out) * w.c + position % w.c;
          ctx.store(to, simt::narrow<T>(sums[i][j]));
        }
      }
    }
  }

 private:
  static JP_BODY uint32_t at(int line, int along) {
    return static_cast<uint32_t>((line * kPitch + along) * sizeof(Sum));
  }
};

}  // namespace jouleprune::cuda::bsr
