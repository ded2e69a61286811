// Linear over matrix tiles of gathered inputs (gathered_kernels.h).
#pragma once
#include "kernels/bsr/bsr_kernels.h"
#include "kernels/bsr/gathered_kernels.h"

namespace jouleprune::kernels::bsr {

/// Whether the blocks are as high as tiles, whatever their width.
inline bool has_bands(const formats::BsrView& bsr) { return bsr.r % kTileRows == 0; }

/// linear(); requires has_bands.
void linear_gathered(const LinearParams<BFloat16>& params, const GatheredKernels& kernels, const ParallelFor& parallel);

}  // namespace jouleprune::kernels::bsr
