// Gradient of the kept values of a convolution: a dot product over images and pixels for each entry. One warp per kPerWarp neighbouring
// entries, which share what is known of a pixel; lanes along the pixels.
#pragma once
#include "conv/conv_params.h"
#include "simt/elements.h"

namespace jouleprune::cuda::conv {

template <class T_>
struct ConvValues {
  using T = T_;
  using Sum = simt::SumOf<T>;
  using Params = ValuesParams;
  static constexpr int kThreads = 128, kPerWarp = 8, kEntries = kThreads / simt::kLanes * kPerWarp;
  static constexpr uint32_t kShared = 0;

  static simt::Grid grid(const Params& p) { return {simt::ceil_div<int64_t>(p.nnz, kEntries), 1}; }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const auto& s = p.shape;
    const int64_t first = ctx.block_x() * kEntries + ctx.warp() * kPerWarp;
    if (first >= p.nnz) {
      return;
    }
    int64_t rows[kPerWarp];
    int32_t distances[kPerWarp];
    JP_UNROLL for (int e = 0; e < kPerWarp; ++e) {
      const int64_t entry = first + e < p.nnz ? first + e : first;  // beyond the last one: the first again, stored by nobody
      rows[e] = static_cast<int64_t>(ctx.load(p.entry_rows + entry)) * s.out_plane();
      distances[e] = s.distance(ctx.load(p.columns + entry));
    }
    Sum sums[kPerWarp] = {};
    for (int64_t image = 0; image < s.batch; ++image) {
      const T* const dy = static_cast<const T*>(p.grad_output) + image * s.out_image();
      const T* const x = static_cast<const T*>(p.input) + image * s.padded_image();
      for (int32_t pixel = ctx.lane(); pixel < s.out_plane(); pixel += simt::kLanes) {
        const T* const corner = x + s.corner(pixel);
        JP_UNROLL for (int e = 0; e < kPerWarp; ++e) {
          sums[e] += static_cast<Sum>(simt::widen(ctx.load(dy + rows[e] + pixel))) *
                     static_cast<Sum>(simt::widen(ctx.load(corner + distances[e])));
        }
      }
    }
    T kept{};
    JP_UNROLL for (int e = 0; e < kPerWarp; ++e) {
      Sum sum = sums[e];
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

}  // namespace jouleprune::cuda::conv
