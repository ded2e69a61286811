// The loops over tiles on the processor's, compiled with AMX-TILE and AVX-512.
#include "kernels/amx_tiles.h"
#include "kernels/bsr/gathered_body.h"
#include "kernels/bsr/tile_body.h"

namespace jouleprune::kernels::bsr {

extern const TileKernels amx_tiles;
extern const GatheredKernels amx_gathered;
const TileKernels amx_tiles = {multiply_tiles<AmxTiles>};
const GatheredKernels amx_gathered = {pack_panel, multiply_gathered<AmxTiles>};

}  // namespace jouleprune::kernels::bsr
