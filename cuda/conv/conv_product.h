// Convolution with a csr weight, direct on the padded image: an entry is a distance in it, the same for all pixels. One warp per
// output channel and kPixels pixels of an image; no matrix of patches is ever made. Channels start longest first.
#pragma once
#include "conv/conv_params.h"
#include "csr/entries.h"

namespace jouleprune::cuda::conv {

template <class T_>
struct ConvProduct {
  using T = T_;
  using Sum = simt::SumOf<T>;
  using Params = ProductParams;
  static constexpr int kThreads = 128, kWarps = kThreads / simt::kLanes;
  static constexpr uint32_t kShared = 0;

  static simt::Grid grid(const Params& p) {
    const int64_t tiles = simt::ceil_div<int64_t>(p.shape.out_plane(), kPixels);
    return {p.shape.batch * tiles, simt::ceil_div<int64_t>(p.shape.out_channels, kWarps)};
  }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const auto& s = p.shape;
    const auto& m = p.matrix;
    const int64_t tiles = simt::ceil_div<int64_t>(s.out_plane(), kPixels), place = ctx.block_y() * kWarps + ctx.warp();
    if (place >= s.out_channels) {
      return;  // a whole warp: nothing here waits for other warps
    }
    const int64_t image = ctx.block_x() / tiles;
    const int32_t pixel = static_cast<int32_t>(ctx.block_x() % tiles) * kPixels + ctx.lane();
    const int32_t row = ctx.load(m.order + place);
    const T* const x = static_cast<const T*>(p.input) + image * s.padded_image();
    int32_t from[kPerLane];
    JP_UNROLL for (int i = 0; i < kPerLane; ++i) {
      const int32_t mine = pixel + i * simt::kLanes;
      from[i] = mine < s.out_plane() ? s.corner(mine) : 0;  // beyond the last one: reads the first, stores nothing
    }
    Sum sums[kPerLane] = {};
    csr::for_each_entry<T>(
        ctx, m, ctx.load(m.offsets + row), ctx.load(m.offsets + row + 1),
        [&](int32_t column) { return s.distance(column); },
        [&](Sum w, int32_t distance) {
          JP_UNROLL for (int i = 0; i < kPerLane; ++i) {
            sums[i] += w * static_cast<Sum>(simt::widen(ctx.load(x + distance + from[i])));
          }
        });
    const int64_t out = image * s.out_image() + static_cast<int64_t>(row) * s.out_plane();
    JP_UNROLL for (int i = 0; i < kPerLane; ++i) {
      const int32_t mine = pixel + i * simt::kLanes;
      if (mine < s.out_plane()) {
        ctx.store(static_cast<T*>(p.output) + out + mine, finished<T>(ctx, p.epilogue, sums[i], row, out + mine));
      }
    }
  }
};

}  // namespace jouleprune::cuda::conv
