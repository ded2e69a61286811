// Product of a bsr weight with feature-major activations by multiply-adds, for float32, float64 and for blocks of any
// size: the same walks as strip_product.h, a value at a time. One block of threads computes up to 16 outputs of one
// group for kTokens batch rows; each warp has four of the outputs, each lane kPerLane batch rows.
#pragma once
#include "bsr/strip_product.h"

namespace jouleprune::cuda::bsr {

template <class T_, Walk kWalk, int kPerLane, class Source = Rows>
struct StripFma {
  using T = T_;
  using Sum = simt::SumOf<T>;
  using Params = StripParams<Source>;
  static constexpr int kThreads = 128, kRows = 16, kRowsPerWarp = 4, kDepth = 16, kTokens = kPerLane * simt::kLanes;
  static constexpr uint32_t kABytes = kDepth * kRows * sizeof(Sum), kShared = kABytes + kDepth * kTokens * sizeof(Sum);
  static_assert(kThreads % kTokens == 0, "a thread reads the same batch row at every position");

  static simt::Grid grid(const Params& p) {
    const int64_t strips = simt::ceil_div(group_outputs<kWalk>(p.walk), kRows);
    return {p.walk.groups * strips, simt::ceil_div<int64_t>(p.x.tokens(), kTokens)};
  }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const auto& w = p.walk;
    const int group_size = group_outputs<kWalk>(w);
    const int64_t strips = simt::ceil_div(group_size, kRows), group = ctx.block_x() / strips;
    const int output = static_cast<int>(ctx.block_x() - group * strips) * kRows;
    const int64_t token = ctx.block_y() * kTokens;
    const auto list = list_of(ctx, w, p.x, group);
    const auto range = p.x.outputs_of(group, group_size);
    const auto cursor = p.x.cursor(token + ctx.thread() % kTokens);
    const int64_t positions = list.count * positions_per_entry<kWalk>(w);
    Sum sums[kRowsPerWarp][kPerLane] = {};
    for (int64_t p0 = 0; p0 < positions; p0 += kDepth) {
      // Phase 1: widened values [position][output] and activations [position][token].
      for (int i = ctx.thread(); i < kDepth * kRows; i += kThreads) {
        const int depth = i / kRows, out = i % kRows;
        int64_t from = -1;
        if (output + out < group_size) {
          from = value_at<kWalk>(ctx, w, position_of<kWalk>(ctx, w, p.x, list, p0 + depth), output + out);
        }
        const auto* values = static_cast<const T*>(w.values);
        ctx.store_shared(a_at(depth, out), from < 0 ? Sum(0) : static_cast<Sum>(simt::widen(ctx.load(values + from))));
      }
      for (int i = ctx.thread(); i < kDepth * kTokens; i += kThreads) {
        const int depth = i / kTokens, along = i % kTokens;
        const int64_t from = p.x.at(position_of<kWalk>(ctx, w, p.x, list, p0 + depth).line, cursor);
        const auto* x = static_cast<const T*>(p.x.data);
        ctx.store_shared(x_at(depth, along), from < 0 ? Sum(0) : static_cast<Sum>(simt::widen(ctx.load(x + from))));
      }
      ctx.sync();
      // Phase 2: products.
      for (int depth = 0; depth < kDepth; ++depth) {
        Sum x[kPerLane];
        JP_UNROLL for (int j = 0; j < kPerLane; ++j) {
          x[j] = ctx.template load_shared<Sum>(x_at(depth, ctx.lane() + j * simt::kLanes));
        }
        JP_UNROLL for (int i = 0; i < kRowsPerWarp; ++i) {
          const Sum a = ctx.template load_shared<Sum>(a_at(depth, ctx.warp() * kRowsPerWarp + i));
          JP_UNROLL for (int j = 0; j < kPerLane; ++j) { sums[i][j] += a * x[j]; }
        }
      }
      ctx.sync();
    }
    // Phase 3: the four outputs of a lane are neighbours in memory.
    JP_UNROLL for (int j = 0; j < kPerLane; ++j) {
      const int64_t mine = token + ctx.lane() + j * simt::kLanes;
      JP_UNROLL for (int i = 0; i < kRowsPerWarp; ++i) {
        const int out = output + ctx.warp() * kRowsPerWarp + i;
        const int64_t row = range.first + out, to = out < group_size && row < range.end ? p.x.result_at(row, mine) : -1;
        if (to >= 0) {
          ctx.store(static_cast<T*>(p.y) + to, finished<T>(ctx, p.epilogue, sums[i][j], row, to));
        }
      }
    }
  }

 private:
  static JP_BODY uint32_t a_at(int depth, int out) {
    return static_cast<uint32_t>((depth * kRows + out) * sizeof(Sum));
  }
  static JP_BODY uint32_t x_at(int depth, int along) {
    return kABytes + static_cast<uint32_t>((depth * kTokens + along) * sizeof(Sum));
  }
};

}  // namespace jouleprune::cuda::bsr
