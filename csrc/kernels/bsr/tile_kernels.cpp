#include "kernels/bsr/tile_kernels.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "kernels/isa.h"
#include "kernels/switches.h"

namespace jouleprune::kernels::bsr {
namespace {

/// Linux gives the large tile state only to processes that ask for it.
bool usable() {
#if defined(__x86_64__) && defined(__linux__)
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  unsigned a = 0, b = 0, c = 0, d = 0;
  return isa_supported(Isa::kAvx512) && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kBf16) != 0 && (d & kTile) != 0 &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

}  // namespace

#if defined(__x86_64__)
extern const TileKernels amx_tiles;
#endif

const TileKernels* tile_kernels() {
  static const bool serve = switched_on("JOULEPRUNE_AMX", true) && usable();
#if defined(__x86_64__)
  return serve ? &amx_tiles : nullptr;
#else
  return nullptr;
#endif
}

const char* tile_state() {
  if (tile_kernels() != nullptr) {
    return "in use";
  }
  return usable() ? "off: JOULEPRUNE_AMX=0" : "not on this processor";
}

}  // namespace jouleprune::kernels::bsr
