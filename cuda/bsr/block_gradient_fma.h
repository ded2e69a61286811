// Gradient of the kept blocks by multiply-adds, for float32, float64 and blocks of any size. A block of threads has 16
// outputs and 64 positions of a block row; each warp has four of the outputs, each lane two positions.
#pragma once
#include "bsr/block_gradient.h"

namespace jouleprune::cuda::bsr {

template <class T_, class Source = Rows>
struct BlockGradientFma {
  using T = T_;
  using Sum = simt::SumOf<T>;
  using Params = GradientParams<Source>;
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
    const auto list = list_of(ctx, w, p.x, group);
    const int64_t p0 = ctx.block_y() * kPositions;
    if (p0 >= list.count * w.c) {
      return;  // a whole block of threads
    }
    Sum sums[kRowsPerWarp][kPerLane] = {};
    static_assert(kThreads % kDepth == 0, "a thread reads the same batch row of every line");
    for (int64_t token = 0; token < p.dy.tokens(); token += kDepth) {
      const auto dy_cursor = p.dy.cursor(token + ctx.thread() % kDepth), x_cursor = p.x.cursor(token + ctx.thread() % kDepth);
      for (int i = ctx.thread(); i < (kRows + kPositions) * kDepth; i += kThreads) {
        const int line = i / kDepth, along = i % kDepth;
        const bool is_dy = line < kRows;
        const int64_t out = group * w.r + output + line;
        const int64_t from =
            is_dy ? p.dy.at({output + line < w.r && out < p.dy.outputs ? out : -1}, dy_cursor)
                  : p.x.at(position_of<kWalk>(ctx, w, p.x, list, p0 + line - kRows).line, x_cursor);
        const auto* operand = static_cast<const T*>(is_dy ? p.dy.data : p.x.data);
        ctx.store_shared(at(line, along), from < 0 ? Sum(0) : static_cast<Sum>(simt::widen(ctx.load(operand + from))));
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
        if (out < w.r && entry < list.count) {
          auto* to = static_cast<T*>(p.gradient) + ((list.first + entry) * w.r + out) * w.c + position % w.c;
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
