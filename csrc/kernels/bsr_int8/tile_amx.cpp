// The loops over tiles on the processor's, compiled with AMX-TILE and AVX-512.
#include "kernels/amx_tiles.h"
#include "kernels/bsr_int8/tile_body.h"

namespace jouleprune::kernels::bsr_int8 {

extern const TileKernels amx_tiles;
const TileKernels amx_tiles = {multiply_tiles<AmxTiles>};

}  // namespace jouleprune::kernels::bsr_int8
