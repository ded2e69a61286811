#include "kernels/bsr_int8/tile_kernels.h"

#include "kernels/amx.h"
#include "kernels/bsr_int8/panel_kernels.h"

namespace jouleprune::kernels::bsr_int8 {

#if defined(__x86_64__)
extern const TileKernels amx_tiles;
#endif

const TileKernels* tile_kernels() {
#if defined(__x86_64__)
  return tiles_serve(Tiles::kInt8) && has_vnni() ? &amx_tiles : nullptr;  // VNNI: whose panels they read
#else
  return nullptr;
#endif
}

}  // namespace jouleprune::kernels::bsr_int8
