// Gradient of the kept values: a dot product over the batch for each entry, both operands feature-major. One warp per
// kPerWarp neighbouring entries; lanes along the batch. For few batch rows or very sparse weights; masked_gradient.h
// serves the others.
#pragma once
#include "csr/csr_params.h"
#include "simt/elements.h"

namespace jouleprune::cuda::csr {

template <class T_>
struct SampledDots {
  using T = T_;
  using Sum = simt::SumOf<T>;
  using Params = GradientParams;
  static constexpr int kThreads = 128, kPerWarp = 8, kEntries = kThreads / simt::kLanes * kPerWarp;
  static constexpr uint32_t kShared = 0;

  static simt::Grid grid(const Params& p) { return {simt::ceil_div<int64_t>(p.nnz, kEntries), 1}; }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const int64_t first = ctx.block_x() * kEntries + ctx.warp() * kPerWarp;
    T kept{};
    for (int e = 0; e < kPerWarp && first + e < p.nnz; ++e) {
      const auto* dy = static_cast<const T*>(p.dy) + ctx.load(p.entry_rows + first + e) * p.pitch;
      const auto* x = static_cast<const T*>(p.x) + ctx.load(p.columns + first + e) * p.pitch;
      Sum sum = 0;
      for (int64_t token = ctx.lane(); token < p.n; token += simt::kLanes) {
        sum += static_cast<Sum>(simt::widen(ctx.load(dy + token))) * static_cast<Sum>(simt::widen(ctx.load(x + token)));
      }
      for (int mask = simt::kLanes / 2; mask > 0; mask /= 2) {
        sum += ctx.shuffle_xor(sum, mask);
      }
      kept = ctx.lane() == e ? simt::narrow<T>(sum) : kept;
    }
    if (ctx.lane() < kPerWarp && first + ctx.lane() < p.nnz) {
      ctx.store(static_cast<T*>(p.gradient) + first + ctx.lane(), kept);
    }
  }
};

}  // namespace jouleprune::cuda::csr
