// Tile registers of the processor: AMX-TILE and AMX-BF16, compiled with these and AVX-512.
#include <immintrin.h>

#include "kernels/bsr/tile_body.h"

namespace jouleprune::kernels::bsr {
namespace {

class AmxTiles {
 public:
  AmxTiles() {
    struct alignas(64) Configuration {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    };
    static_assert(sizeof(Configuration) == 64);
    const Configuration configuration;
    _tile_loadconfig(&configuration);
  }
  ~AmxTiles() { _tile_release(); }
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;

  // As the compiler's own intrinsics, which want the number of a register as a token and so serve no template.
  template <int kTile>
  [[gnu::always_inline]] void load(const void* from, int64_t stride) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  [[gnu::always_inline]] void store(void* to, int64_t stride) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kSums, int kLeft, int kRight>
  [[gnu::always_inline]] void multiply() {
    __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kLeft), "i"(kRight));
  }
};

}  // namespace

extern const TileKernels amx_tiles;
const TileKernels amx_tiles = {multiply_tiles<AmxTiles>};

}  // namespace jouleprune::kernels::bsr
