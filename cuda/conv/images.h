// Where the activations of a convolution lie, as a source of the kernels that gather them by lines (rows.h): implicit
// GEMM. A line is a channel at one tap of the window, a token a pixel of the output; a row of output pixels is filled up
// to chunks of eight, so that a chunk never spans two of them. The horizontal shift of a tap is in the *plane* that is
// read (shift_planes.h), where every chunk stands at a multiple of 16 bytes; the vertical one is a row of that plane, or
// zeros where the padding is. No matrix of patches is made.
#pragma once
#include <cstdint>

#include "conv/planes_tile.h"
#include "rows.h"

namespace jouleprune::cuda::conv {

/// What a list entry of a weight reads: planes `plane` .. `plane + left - 1`, at one tap. The entry's further lines are
/// padding.
struct alignas(16) Window {
  int32_t plane, kernel_row, left, unused;
};

/// Row of the planes that output row y reads at row k of the kernel: (y mul + add + k step) / div, none where that is
/// no whole number or outside.
struct RowMap {
  int32_t mul, add, step, div;
};

struct Images {
  const void* data;       // [batch, planes, height, pitch]
  const Window* windows;  // by the places of the walk
  int64_t batch, planes;
  int32_t height, pitch;  // pitch: of the output's rows, too, a multiple of 8
  RowMap rows;
  int32_t out_channels, out_height, out_width;
  // Of each convolution group:
  int64_t lists, outputs, places;  // groups of outputs of the walk; output channels; places, 0 where all groups share them

  static constexpr bool kOftenFew = false;
  struct Cursor {
    int64_t base;  // of the image, and the column; -1 beyond the last token
    int32_t y;     // before the kernel's row is added
  };
  template <class T, int kRows, int kTokens>
  using Output = PlanesTile<T, kRows, kTokens>;
  struct Place {
    OutputRange range;
    int64_t token;
    const Images* images;
  };

  JP_ANYWHERE int64_t tokens() const { return batch * out_height * pitch; }
  JP_BODY Pixel pixel(int64_t token) const {
    const auto all = static_cast<uint32_t>(token);  // fewer than 2^31
    const uint32_t row = all / static_cast<uint32_t>(pitch), image = row / static_cast<uint32_t>(out_height);
    return {image, static_cast<int32_t>(row - image * static_cast<uint32_t>(out_height)),
            static_cast<int32_t>(all - row * static_cast<uint32_t>(pitch))};
  }
  JP_BODY Cursor cursor(int64_t token) const {
    if (token >= tokens()) {
      return {-1, 0};
    }
    const auto p = pixel(token);
    return {p.image * planes * height * pitch + p.x, p.y * rows.mul + rows.add};
  }
  JP_BODY int64_t at(const Line& line, const Cursor& cursor) const {
    int32_t y = cursor.y + line.kernel_row * rows.step;
    bool present = line.row >= 0 && cursor.base >= 0 && y >= 0;
    if (rows.div != 1) {
      const int32_t whole = y / rows.div;
      present = present && whole * rows.div == y;
      y = whole;
    }
    return present && y < height ? cursor.base + (line.row * height + y) * pitch : -1;
  }
  JP_BODY int64_t list_base(int64_t group) const { return group / lists * places; }
  template <class Ctx>
  JP_BODY Found locate(const Ctx& ctx, int64_t, int64_t base, int64_t place, int, int within) const {
    const auto window = ctx.load(windows + base + place);
    return {{within < window.left ? window.plane + within : -1, window.kernel_row}, window.left - within};
  }
  JP_BODY OutputRange outputs_of(int64_t group, int size) const {
    const int64_t convolution = group / lists, first = convolution * outputs;
    return {first + (group - convolution * lists) * size, first + outputs};
  }
  JP_BODY Place place(const OutputRange& range, int64_t output, int64_t token) const {
    return {{range.first + output, range.end}, token, this};
  }
  /// Element of the result [batch, out_channels, out_height, out_width], or -1.
  JP_BODY int64_t result_at(int64_t output, int64_t token) const {
    if (token >= tokens()) {
      return -1;
    }
    return result_at(output, pixel(token));
  }
  JP_BODY int64_t result_at(int64_t output, const Pixel& p) const {
    return p.x < out_width ? ((p.image * out_channels + output) * out_height + p.y) * out_width + p.x : -1;
  }
};

}  // namespace jouleprune::cuda::conv
