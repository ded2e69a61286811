// From the floats of a section's images to a raster of words.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/bsr_int8/bsr_int8_kernels.h"
#include "kernels/bsr_int8/conv_kernels.h"
#include "kernels/csr/raster.h"

namespace jouleprune::kernels::bsr_int8 {

/// How each image of a batch is rounded.
struct ImageScales {
  std::vector<float> scales, inverses;  ///< [batch], as of row_scale(); bytes have no inverses
};

/// The scales of all images. Where every pixel is filled into a raster anyway, filling looks for NaN instead.
template <class In, class Out>
ImageScales image_scales(const ConvParams<In, Out>& conv, const ConvKernels& kernels, const ParallelFor& parallel);

/// Words of each plane.
struct PlaneRange {
  int64_t first, last;
};

/// Fills words [range.first, range.last) of the planes of the raster of word_shape(); whole rows at the beginning. Each thread fills
/// a raster of its own with what it reads: csr/conv_work.h tells what shared ones cost. shape: that of the convolution, a pointwise
/// one flattened to rows. lost: [batch] set to 1 for an image in which a NaN was seen, of the calling thread alone.
template <class In, class Out>
void fill_raster(const ConvParams<In, Out>& conv, const csr::ConvShape& shape, const csr::Raster& raster,
                 const csr::Section& section, const PlaneRange& range, const ConvKernels& kernels, const ImageScales& scales,
                 int32_t* words, uint8_t* lost);

}  // namespace jouleprune::kernels::bsr_int8
