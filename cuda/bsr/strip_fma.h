// Product of a bsr weight with feature-major activations by multiply-adds, for float32, float64 and for blocks of any
// size: the same walks as strip_product.h, a value at a time. One block of threads computes up to 16 outputs of one
// group for kTokens batch rows; each warp has four of the outputs, each lane kPerLane batch rows.
#pragma once
#include "bsr/strip_product.h"

namespace jouleprune::cuda::bsr {

template <class T_, Walk kWalk, int kPerLane>
struct StripFma {
  using T = T_;
  using Sum = simt::SumOf<T>;
  using Params = StripParams;
  static constexpr int kThreads = 128, kRows = 16, kRowsPerWarp = 4, kDepth = 16, kTokens = kPerLane * simt::kLanes;
  static constexpr uint32_t kABytes = kDepth * kRows * sizeof(Sum), kShared = kABytes + kDepth * kTokens * sizeof(Sum);

  static simt::Grid grid(const Params& p) {
    const int64_t strips = simt::ceil_div(group_outputs<kWalk>(p.walk), kRows);
    return {p.walk.groups * strips, simt::ceil_div<int64_t>(p.n, kTokens)};
  }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const auto& w = p.walk;
    const int group_size = group_outputs<kWalk>(w);
    const int64_t strips = simt::ceil_div(group_size, kRows), group = ctx.block_x() / strips;
    const int output = static_cast<int>(ctx.block_x() - group * strips) * kRows;
    const int64_t token = ctx.block_y() * kTokens;
    const int64_t first = ctx.load(w.offsets + group), count = ctx.load(w.offsets + group + 1) - first;
    const int64_t positions = count * positions_per_entry<kWalk>(w);
    Sum sums[kRowsPerWarp][kPerLane] = {};
    for (int64_t p0 = 0; p0 < positions; p0 += kDepth) {
      // Phase 1: widened values [position][output] and activations [position][token].
      for (int i = ctx.thread(); i < kDepth * kRows; i += kThreads) {
        const int depth = i / kRows, out = i % kRows;
        int64_t from = -1;
        if (output + out < group_size) {
          from = value_at<kWalk>(ctx, w, position_of<kWalk>(ctx, w, first, count, p0 + depth), output + out);
        }
        const auto* values = static_cast<const T*>(w.values);
        ctx.store_shared(a_at(depth, out), from < 0 ? Sum(0) : static_cast<Sum>(simt::widen(ctx.load(values + from))));
      }
      for (int i = ctx.thread(); i < kDepth * kTokens; i += kThreads) {
        const int depth = i / kTokens, along = i % kTokens;
        const int64_t row = position_of<kWalk>(ctx, w, first, count, p0 + depth).row;
        const bool present = row >= 0 && token + along < p.n;
        const auto* from = static_cast<const T*>(p.x) + row * p.pitch + token + along;
        ctx.store_shared(x_at(depth, along), present ? static_cast<Sum>(simt::widen(ctx.load(from))) : Sum(0));
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
      const int64_t batch_row = token + ctx.lane() + j * simt::kLanes;
      JP_UNROLL for (int i = 0; i < kRowsPerWarp; ++i) {
        const int out = output + ctx.warp() * kRowsPerWarp + i;
        const int64_t row = group * group_size + out;
        if (batch_row < p.n && out < group_size && row < p.outputs) {
          const int64_t to = batch_row * p.outputs + row;
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
