// Where the input pixels of a convolution lie so that each weight (channel, ky, kx) reads a run of consecutive output pixels at
// a constant offset. Each channel's plane is padded once and laid out row after row; the zeros right of one row are at the same
// time those left of the next. Strided convolutions split a plane into phase planes, each of which is read with stride 1.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/csr/csr_kernels.h"

namespace jouleprune::kernels::csr {

/// A rectangle of output pixels of consecutive images: what one raster serves.
struct Section {
  int64_t image, images, y, height, x, width;
};

/// Activations in memory, counted in elements: output pixel (image, y, x) of a section reads column c at
/// columns[c] + image * image_stride + y * pitch + x.
struct PlaneLayout {
  int64_t image_stride = 0, pitch = 0;
  std::vector<int32_t> columns;  ///< [groups * cols]: all groups of the convolution side by side
};

class Raster {
 public:
  /// For sections of at most `images` images and height x width output pixels.
  Raster(const ConvShape& shape, int64_t images, int64_t height, int64_t width);

  const PlaneLayout& layout() const { return layout_; }
  int64_t elements() const { return planes() * plane_; }
  int64_t planes() const { return shape_.in_channels * phases(); }  ///< channel by channel, phase by phase
  int64_t phases() const { return static_cast<int64_t>(phase_y_.size() * phase_x_.size()); }
  int64_t plane() const { return plane_; }  ///< elements from one plane to the next
  int64_t reach() const { return reach_h_ * layout_.pitch + reach_w_; }  ///< from an output pixel to the furthest it reads

  /// Where the rows of a plane meet the input, in the order of their place.
  struct Row {
    int64_t at;                 ///< in the plane; `pitch` elements
    int64_t image, y, x;        ///< input pixel of the first element that has one
    int64_t begin, end;         ///< elements that have one; the others are padding
  };
  std::vector<Row> rows(const Section& section, int64_t phase) const;

 private:
  ConvShape shape_;
  std::vector<int64_t> phase_y_, phase_x_;  ///< phases that some tap reads
  int64_t reach_h_, reach_w_;               ///< furthest tap within a phase plane
  int64_t image_rows_ = 0;                  ///< from one image to the next
  int64_t plane_ = 0;
  PlaneLayout layout_;
};

/// Layout of the planes as they are, [batch, channels, plane]: for pointwise convolutions without stride and padding.
PlaneLayout plain_layout(const ConvShape& shape);

}  // namespace jouleprune::kernels::csr
