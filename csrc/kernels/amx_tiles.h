// The tile registers of the processor as a class of tile operations, for files compiled with AMX-TILE and AVX-512; internal linkage,
// see csr/vector.h. Loops over tiles are written against such a class, of which the tests have another one in plain C++.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace jouleprune::kernels {
namespace {

/// Takes the thread's eight registers, each of 16 rows x 64 bytes, and gives them back.
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

  /// 16 rows of 64 bytes, `stride` bytes apart.
  template <int kTile>
  [[gnu::always_inline]] void load(const void* from, int64_t stride) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  [[gnu::always_inline]] void store(void* to, int64_t stride) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
  }
  /// float sums[m][n] += left[m][2k] right[k][2n] + left[m][2k + 1] right[k][2n + 1], of bfloat16
  template <int kSums, int kLeft, int kRight>
  [[gnu::always_inline]] void multiply() {
    __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kLeft), "i"(kRight));
  }
  /// int32 sums[m][n] += the sum over i < 4 of left[m][4k + i] right[k][4n + i], of signed bytes with unsigned ones
  template <int kSums, int kLeft, int kRight>
  [[gnu::always_inline]] void multiply_bytes() {
    __asm__ volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kLeft), "i"(kRight));
  }
};

}  // namespace
}  // namespace jouleprune::kernels
