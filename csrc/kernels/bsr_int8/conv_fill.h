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
  std::vector<float> scales, inverses;  ///< [batch], as of row_scale()
  std::vector<uint8_t> lost;            ///< [batch] 1: a NaN was seen while filling, and all outputs must be NaN
};

/// The scales of all images. Where every pixel is filled into a raster anyway, filling looks for NaN instead.
ImageScales image_scales(const ConvParams<float>& conv, const ConvKernels& kernels, const ParallelFor& parallel);

/// Fills the raster of word_shape(). shape: that of the convolution, a pointwise one flattened to rows; scales.lost is added to.
void fill_raster(const ConvParams<float>& conv, const csr::ConvShape& shape, const csr::Raster& raster,
                 const csr::Section& section, const ConvKernels& kernels, ImageScales& scales, int32_t* words,
                 const ParallelFor& parallel);

}  // namespace jouleprune::kernels::bsr_int8
