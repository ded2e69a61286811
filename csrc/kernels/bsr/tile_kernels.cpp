#include "kernels/bsr/tile_kernels.h"

#include "kernels/amx.h"
#include "kernels/bsr/gathered_kernels.h"

namespace jouleprune::kernels::bsr {

#if defined(__x86_64__)
extern const TileKernels amx_tiles;
extern const GatheredKernels amx_gathered;
#endif

const TileKernels* tile_kernels() {
#if defined(__x86_64__)
  return tiles_serve(Tiles::kBFloat16) ? &amx_tiles : nullptr;
#else
  return nullptr;
#endif
}

const GatheredKernels* gathered_kernels() {
#if defined(__x86_64__)
  return tiles_serve(Tiles::kBFloat16) ? &amx_gathered : nullptr;
#else
  return nullptr;
#endif
}

}  // namespace jouleprune::kernels::bsr
