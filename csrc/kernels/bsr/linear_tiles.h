// Linear over matrix tiles (tile_kernels.h).
#pragma once
#include "kernels/bsr/bsr_kernels.h"
#include "kernels/bsr/tile_kernels.h"

namespace jouleprune::kernels::bsr {

/// Whether the blocks consist of whole tiles.
inline bool has_tiles(const formats::BsrView& bsr) { return bsr.r % kTileRows == 0 && bsr.c % kTileInputs == 0; }

/// linear(); requires has_tiles.
void linear_tiles(const LinearParams<BFloat16>& params, const TileKernels& kernels, const ParallelFor& parallel);

}  // namespace jouleprune::kernels::bsr
