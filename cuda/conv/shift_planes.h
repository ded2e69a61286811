// The planes that Images reads: of each channel one per column of the kernel, already shifted by that column and thinned
// by the stride, in rows of whole chunks. 1 + kernel_w times the bytes of the input are moved, once; a matrix of patches
// would take kernel_h kernel_w times.
#pragma once
#include "conv/images.h"
#include "simt/elements.h"

namespace jouleprune::cuda::conv {

struct ShiftParams {
  const void* input;  // [batch, channels, height, width]
  int64_t batch, channels;
  int32_t height, width;
  int32_t kernel_w;
  RowMap columns;     // as Images maps rows
  int32_t out_width;  // columns from there on are zero
  int32_t pitch;
  void* planes;  // [batch, kernel_w * channels, height, pitch]: column of the kernel by column, channels within
};

template <class T_>
struct ShiftPlanes {
  using T = T_;
  using Params = ShiftParams;
  static constexpr int kThreads = 256;
  static constexpr uint32_t kShared = 0;

  static simt::Grid grid(const Params& p) {
    const int64_t planes = p.batch * p.channels;
    return {simt::ceil_div<int64_t>(static_cast<int64_t>(p.height) * p.pitch, kThreads), planes < 65535 ? planes : 65535};
  }

  /// A thread has one place of a plane, in every plane that its block comes to.
  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const int64_t plane = static_cast<int64_t>(p.height) * p.pitch, place = ctx.block_x() * kThreads + ctx.thread();
    if (place >= plane) {
      return;
    }
    const int64_t row = place / p.pitch;
    const auto x = static_cast<int32_t>(place - row * p.pitch);
    for (int64_t of = ctx.block_y(); of < p.batch * p.channels; of += ctx.blocks_y()) {
      const int64_t image = of / p.channels, channel = of - image * p.channels;
      const T* const from = static_cast<const T*>(p.input) + (of * p.height + row) * p.width;
      for (int32_t s = 0; s < p.kernel_w; ++s) {
        const int32_t at = x * p.columns.mul + p.columns.add + s * p.columns.step, column = at / p.columns.div;
        const bool present = x < p.out_width && at >= 0 && column * p.columns.div == at && column < p.width;
        ctx.store(static_cast<T*>(p.planes) + ((image * p.kernel_w + s) * p.channels + channel) * plane + place,
                  present ? ctx.load(from + column) : T{});
      }
    }
  }
};

}  // namespace jouleprune::cuda::conv
