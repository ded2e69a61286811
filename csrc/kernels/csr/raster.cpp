#include "kernels/csr/raster.h"

#include <algorithm>

#include "formats/ceil_div.h"

namespace jouleprune::kernels::csr {
namespace {

int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -ceil_div(-a, b); }

/// One direction of a convolution.
struct Axis {
  int64_t in, kernel, stride, padding, dilation;

  std::vector<int64_t> phases() const {
    std::vector<int64_t> out;
    for (int64_t k = 0; k < kernel; ++k) {
      out.push_back(k * dilation % stride);
    }
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
  }
  int64_t reach() const { return dilation * (kernel - 1) / stride; }

  /// Elements [first, last) of a phase plane whose first element is output pixel `origin` lie in the input.
  int64_t first(int64_t phase, int64_t origin) const {
    return std::max<int64_t>(0, -floor_div(phase - padding, stride) - origin);
  }
  int64_t last(int64_t phase, int64_t origin) const { return floor_div(in - 1 + padding - phase, stride) + 1 - origin; }

  /// Least distance from one row (or image) to the next when `out` of them are wanted: whoever reads past the end of one must
  /// find padding at the beginning of the next. `whole`: the rows begin at the first output pixel and end at the last.
  int64_t pitch(int64_t out, bool whole) const {
    const int64_t read = out + reach();
    if (!whole) {
      return read;
    }
    int64_t pitch = out;
    for (const int64_t phase : phases()) {
      const int64_t before = std::min(first(phase, 0), read);
      pitch = std::max({pitch, std::min(last(phase, 0), read), read - before});
    }
    return pitch;
  }
};

Axis vertical(const ConvShape& s) { return {s.height, s.kernel_h, s.stride_h, s.padding_h, s.dilation_h}; }
Axis horizontal(const ConvShape& s) { return {s.width, s.kernel_w, s.stride_w, s.padding_w, s.dilation_w}; }

int64_t index_of(const std::vector<int64_t>& sorted, int64_t value) {
  return std::lower_bound(sorted.begin(), sorted.end(), value) - sorted.begin();
}

}  // namespace

Raster::Raster(const ConvShape& shape, int64_t images, int64_t height, int64_t width)
    : shape_(shape), phase_y_(vertical(shape).phases()), phase_x_(horizontal(shape).phases()), reach_h_(vertical(shape).reach()),
      reach_w_(horizontal(shape).reach()) {
  const int64_t pitch = horizontal(shape).pitch(width, width == shape.out_width());
  image_rows_ = vertical(shape).pitch(height, height == shape.out_height());
  constexpr int64_t kLine = 16, kSlack = 4 * kLine;  // whole vectors are read past the last pixel
  const int64_t rows = (images - 1) * image_rows_ + height + reach_h_;
  const int64_t lines = ceil_div(rows * pitch + reach_w_ + kSlack, kLine);
  plane_ = (lines | 1) * kLine;  // an odd number of lines: planes do not compete for the same sets of the cache
  layout_.image_stride = image_rows_ * pitch;
  layout_.pitch = pitch;
  std::vector<int64_t> taps;
  for (int64_t tap = 0; tap < shape.taps(); ++tap) {
    const int64_t y = tap / shape.kernel_w * shape.dilation_h, x = tap % shape.kernel_w * shape.dilation_w;
    const int64_t phase = index_of(phase_y_, y % shape.stride_h) * static_cast<int64_t>(phase_x_.size()) +
                          index_of(phase_x_, x % shape.stride_w);
    taps.push_back(phase * plane_ + y / shape.stride_h * pitch + x / shape.stride_w);
  }
  layout_.columns.reserve(taps.size() * static_cast<size_t>(shape.in_channels));
  for (int64_t channel = 0; channel < shape.in_channels; ++channel) {
    for (const int64_t tap : taps) {
      layout_.columns.push_back(static_cast<int32_t>(channel * phases() * plane_ + tap));
    }
  }
}

std::vector<Raster::Row> Raster::rows(const Section& section, int64_t phase) const {
  const int64_t phase_y = phase_y_[static_cast<size_t>(phase) / phase_x_.size()];
  const int64_t phase_x = phase_x_[static_cast<size_t>(phase) % phase_x_.size()];
  const Axis axis = horizontal(shape_);
  const int64_t read = std::min(section.width + reach_w_, layout_.pitch);
  const int64_t begin = std::min(axis.first(phase_x, section.x), read);
  const int64_t end = std::clamp(axis.last(phase_x, section.x), begin, read);
  const int64_t x = (section.x + begin) * shape_.stride_w + phase_x - shape_.padding_w;
  std::vector<Row> out;
  for (int64_t row = 0; row < (section.images - 1) * image_rows_ + section.height + reach_h_; ++row) {
    const int64_t image = std::min(row / image_rows_, section.images - 1);
    const int64_t y = (section.y + row - image * image_rows_) * shape_.stride_h + phase_y - shape_.padding_h;
    const bool inside = y >= 0 && y < shape_.height;
    out.push_back({row * layout_.pitch, section.image + image, y, x, inside ? begin : 0, inside ? end : 0});
  }
  return out;
}

PlaneLayout plain_layout(const ConvShape& shape) {
  const int64_t plane = shape.height * shape.width;
  PlaneLayout layout{shape.in_channels * plane, plane, {}};
  for (int64_t channel = 0; channel < shape.in_channels; ++channel) {
    layout.columns.push_back(static_cast<int32_t>(channel * plane));
  }
  return layout;
}

}  // namespace jouleprune::kernels::csr
