#include "kernels/amx.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "kernels/isa.h"
#include "kernels/switches.h"

namespace jouleprune::kernels {
namespace {

/// Linux gives the large tile state only to processes that ask for it.
bool usable(Tiles tiles) {
#if defined(__x86_64__) && defined(__linux__)
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24, kInt8 = 1u << 25;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  const unsigned wanted = kTile | (tiles == Tiles::kInt8 ? kInt8 : kBf16);
  unsigned a = 0, b = 0, c = 0, d = 0;
  return isa_supported(Isa::kAvx512) && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & wanted) == wanted &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  static_cast<void>(tiles);
  return false;
#endif
}

}  // namespace

bool tiles_serve(Tiles tiles) {
  static const bool wanted = switched_on("JOULEPRUNE_AMX", true);
  static const bool bfloat16 = wanted && usable(Tiles::kBFloat16), int8 = wanted && usable(Tiles::kInt8);
  return tiles == Tiles::kInt8 ? int8 : bfloat16;
}

const char* tile_state(Tiles tiles) {
  if (tiles_serve(tiles)) {
    return "in use";
  }
  return usable(tiles) ? "off: JOULEPRUNE_AMX=0" : "not on this processor";
}

}  // namespace jouleprune::kernels
