#include "kernels/bsr/tile_kernels.h"

#include "kernels/amx.h"

namespace jouleprune::kernels::bsr {

#if defined(__x86_64__)
extern const TileKernels amx_tiles;
#endif

const TileKernels* tile_kernels() {
#if defined(__x86_64__)
  return tiles_serve(Tiles::kBFloat16) ? &amx_tiles : nullptr;
#else
  return nullptr;
#endif
}

}  // namespace jouleprune::kernels::bsr
