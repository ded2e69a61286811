// Input pixels of a convolution as columns: row col of a panel holds, for each output pixel, the input pixel under tap col.
#pragma once
#include <algorithm>

#include "kernels/csr/csr_kernels.h"
#include "kernels/csr/panels.h"

namespace jouleprune::kernels::csr {

/// Consecutive pixels of one output row.
struct PixelRun {
  int64_t image, oy, ox, count;
  int64_t at;  ///< place in the panel
};

/// Calls visit(PixelRun) for the output pixels of the panel; pixels are counted [batch, out_height, out_width].
template <class Visit>
void for_each_run(const ConvShape& shape, const Panel& panel, const Visit& visit) {
  const int64_t out_width = shape.out_width(), plane = shape.out_height() * out_width;
  for (int64_t at = 0; at < panel.count;) {
    const int64_t pixel = panel.begin + at, ox = pixel % out_width;
    const int64_t count = std::min(out_width - ox, panel.count - at);
    visit(PixelRun{pixel / plane, pixel % plane / out_width, ox, count, at});
    at += count;
  }
}

/// One tap of a group of channels.
struct Tap {
  int64_t channel, y, x;  ///< channel within the group; offset of the input pixel from the one under tap (0, 0)
};

inline Tap tap_of(const ConvShape& shape, int64_t col) {
  return {col / shape.taps(), col % shape.taps() / shape.kernel_w * shape.dilation_h, col % shape.kernel_w * shape.dilation_w};
}

/// Where a run meets the input under a tap: pixels [first, last) of the run lie inside, pixel i at offset + i * stride_w.
struct Overlap {
  int64_t first = 0, last = 0, offset = 0;  ///< offset within the plane
};

inline Overlap overlap_of(const ConvShape& s, const PixelRun& run, const Tap& tap) {
  const int64_t iy = run.oy * s.stride_h - s.padding_h + tap.y;
  const int64_t ix = run.ox * s.stride_w - s.padding_w + tap.x;
  if (iy < 0 || iy >= s.height || ix >= s.width) {
    return {};
  }
  const int64_t first = ix < 0 ? std::min(run.count, (-ix + s.stride_w - 1) / s.stride_w) : 0;
  const int64_t last = std::max(first, std::min(run.count, (s.width - 1 - ix) / s.stride_w + 1));
  return {first, last, iy * s.width + ix};
}

/// Fills rows [col_begin, col_end) of a panel for a group of channels; input: [batch, in_channels, height, width].
template <class T>
void fill_im2col(const ConvShape& shape, const T* input, int64_t group, const Panel& panel, int64_t col_begin, int64_t col_end,
                 Accumulate<T>* to) {
  using A = Accumulate<T>;
  const int64_t channels_per_group = shape.in_channels / shape.groups;
  for (int64_t col = col_begin; col < col_end; ++col, to += panel.width) {
    const Tap tap = tap_of(shape, col);
    for_each_run(shape, panel, [&](const PixelRun& run) {
      const Overlap overlap = overlap_of(shape, run, tap);
      const T* plane = input + ((run.image * shape.in_channels + group * channels_per_group + tap.channel) * shape.height) *
                                   shape.width;
      A* out = to + run.at;
      std::fill_n(out, overlap.first, A{0});
      if (shape.stride_w == 1) {
        for (int64_t i = overlap.first; i < overlap.last; ++i) {
          out[i] = widen(plane[overlap.offset + i]);
        }
      } else {
        for (int64_t i = overlap.first; i < overlap.last; ++i) {
          out[i] = widen(plane[overlap.offset + i * shape.stride_w]);
        }
      }
      std::fill(out + overlap.last, out + run.count, A{0});
    });
    std::fill(to + panel.count, to + panel.width, A{0});
  }
}

/// Rows [row_begin, row_end) of planes [batch, channels, plane] at the output pixels of a panel.
template <class T>
void fill_planes(const T* planes, int64_t channels, int64_t plane, const Panel& panel, int64_t row_begin, int64_t row_end,
                 Accumulate<T>* to) {
  using A = Accumulate<T>;
  for (int64_t row = row_begin; row < row_end; ++row, to += panel.width) {
    for (int64_t at = 0; at < panel.count;) {
      const int64_t image = (panel.begin + at) / plane, pixel = (panel.begin + at) % plane;
      const int64_t count = std::min(plane - pixel, panel.count - at);
      const T* from = planes + (image * channels + row) * plane + pixel;
      for (int64_t i = 0; i < count; ++i) {
        to[at + i] = widen(from[i]);
      }
      at += count;
    }
    std::fill(to + panel.count, to + panel.width, A{0});
  }
}

}  // namespace jouleprune::kernels::csr
