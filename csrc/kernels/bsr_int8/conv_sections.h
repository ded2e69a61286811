// Which part of a convolution is worked on at a time: a pure function of sizes.
#pragma once
#include <optional>

#include "kernels/csr/raster.h"

namespace jouleprune::kernels::bsr_int8 {

/// Largest section (csr/raster.h), in images and output pixels.
struct SectionSize {
  int64_t images, height, width;
};

/// Whole images while their raster has at most about `bytes` (0: as many as a second-level cache holds), else rows of one, else
/// parts of a row. None: even one pixel's raster is beyond what 32 bits address. `words`: the shape of the raster, with words for
/// channels.
std::optional<SectionSize> section_size(const csr::ConvShape& words, int64_t bytes);

}  // namespace jouleprune::kernels::bsr_int8
