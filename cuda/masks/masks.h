// Masks of bits, as launchers take them. Pointers are of the device; knows neither torch nor CUDA.
#pragma once
#include <cstdint>

#include "masks/apply_bits.h"

namespace jouleprune::cuda::masks {

/// Zeroes what the bits do not keep; elements of 1, 2, 4, 8 or 16 bytes.
struct Apply {
  int element_bytes;
  ApplyBitsParams params;
};

template <class Launcher>
void launch(Launcher& launcher, const Apply& p) {
  const auto run = [&](auto element) {
    using Kernel = ApplyBits<decltype(element)>;
    launcher.template launch<Kernel>(Kernel::grid(p.params), Kernel::kShared, p.params);
  };
  switch (p.element_bytes) {
    case 1: return run(uint8_t{});
    case 2: return run(uint16_t{});
    case 4: return run(uint32_t{});
    case 8: return run(uint64_t{});
    default: return run(simt::Chunk{});
  }
}

}  // namespace jouleprune::cuda::masks
