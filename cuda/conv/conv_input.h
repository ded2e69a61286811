// Gradient of the input of a convolution with a csr weight: one warp per input channel and kPixels pixels of an image. For each tap of
// the kernel a pixel finds the output that read it there, if one did, and the tap's entries say by which weights.
#pragma once
#include "conv/conv_params.h"
#include "csr/entries.h"

namespace jouleprune::cuda::conv {

template <class T_>
struct ConvInput {
  using T = T_;
  using Sum = simt::SumOf<T>;
  using Params = InputParams;
  static constexpr int kThreads = 128, kWarps = kThreads / simt::kLanes;
  static constexpr uint32_t kShared = 0;
  static constexpr int32_t kNowhere = -1;

  static simt::Grid grid(const Params& p) {
    const int64_t tiles = simt::ceil_div<int64_t>(plane(p.shape), kPixels);
    return {p.shape.batch * tiles, simt::ceil_div<int64_t>(p.shape.in_channels, kWarps)};
  }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const auto& s = p.shape;
    const auto& m = p.matrix;
    const int64_t tiles = simt::ceil_div<int64_t>(plane(s), kPixels), channel = ctx.block_y() * kWarps + ctx.warp();
    if (channel >= s.in_channels) {
      return;
    }
    const int64_t image = ctx.block_x() / tiles;
    const int32_t pixel = static_cast<int32_t>(ctx.block_x() % tiles) * kPixels + ctx.lane();
    const T* const dy = static_cast<const T*>(p.grad_output) + image * s.out_image();
    Sum sums[kPerLane] = {};
    for (int32_t tap = 0; tap < s.taps(); ++tap) {
      const int64_t column = channel * s.taps() + tap;
      const int64_t begin = ctx.load(m.offsets + column), end = ctx.load(m.offsets + column + 1);
      if (begin == end) {
        continue;
      }
      int32_t reader[kPerLane];
      JP_UNROLL for (int i = 0; i < kPerLane; ++i) { reader[i] = reader_of(s, pixel + i * simt::kLanes, tap); }
      csr::for_each_entry<T>(
          ctx, m, begin, end, [&](int32_t row) { return row; },
          [&](Sum w, int32_t row) {
            const T* const plane_of_row = dy + static_cast<int64_t>(row) * s.out_plane();
            JP_UNROLL for (int i = 0; i < kPerLane; ++i) {
              if (reader[i] != kNowhere) {
                sums[i] += w * static_cast<Sum>(simt::widen(ctx.load(plane_of_row + reader[i])));
              }
            }
          });
    }
    T* const out = static_cast<T*>(p.grad_input) + (image * s.in_channels + channel) * plane(s);
    JP_UNROLL for (int i = 0; i < kPerLane; ++i) {
      const int32_t mine = pixel + i * simt::kLanes;
      if (mine < plane(s)) {
        ctx.store(out + mine, simt::narrow<T>(sums[i]));
      }
    }
  }

 private:
  static JP_ANYWHERE int32_t plane(const ConvShape& s) { return s.height * s.width; }

  /// Output along one axis whose tap lies at `at` (counted from the padded edge); kNowhere if none does.
  static JP_BODY int32_t along(int32_t at, int32_t stride, int32_t outputs) {
    const int32_t output = at / stride;
    return at >= 0 && output * stride == at && output < outputs ? output : kNowhere;
  }

  static JP_BODY int32_t reader_of(const ConvShape& s, int32_t pixel, int32_t tap) {
    if (pixel >= plane(s)) {
      return kNowhere;
    }
    const int32_t y = along(pixel / s.width + s.padding_h - tap / s.kernel_w * s.dilation_h, s.stride_h, s.out_height);
    const int32_t x = along(pixel % s.width + s.padding_w - tap % s.kernel_w * s.dilation_w, s.stride_w, s.out_width);
    return y == kNowhere || x == kNowhere ? kNowhere : y * s.out_width + x;
  }
};

}  // namespace jouleprune::cuda::conv
