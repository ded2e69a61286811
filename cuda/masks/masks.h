// Masks, as launchers take them. Pointers are of the device; knows neither torch nor CUDA.
#pragma once
#include <cstdint>

#include "element_type.h"
#include "launch_kernel.h"
#include "masks/apply_bits.h"
#include "masks/n_of_m.h"
#include "masks/units.h"

namespace jouleprune::cuda::masks {

/// Zeroes what the bits do not keep; elements of 1, 2, 4, 8 or 16 bytes.
struct Apply {
  int element_bytes;
  ApplyBitsParams params;
};

template <class Launcher>
void launch(Launcher& launcher, const Apply& p) {
  const auto run = [&](auto element) {
    launch_kernel<ApplyBits<decltype(element)>>(launcher, p.params);
  };
  switch (p.element_bytes) {
    case 1: return run(uint8_t{});
    case 2: return run(uint16_t{});
    case 4: return run(uint32_t{});
    case 8: return run(uint64_t{});
    default: return run(simt::Chunk{});
  }
}

struct Norms {
  ElementType type;  // of the scores
  UnitNormsParams params;
};

template <class Launcher>
void launch(Launcher& launcher, const Norms& p) {
  constexpr int64_t kSmall = 64;  // entries: two for each lane of a warp
  with_type(p.type, [&](auto element) {
    using T = decltype(element);
    const auto& units = p.params.units;
    if (units.r <= kSmall && units.c <= kSmall / units.r) {
      launch_kernel<SmallUnitNorms<T>>(launcher, p.params);
    } else {
      launch_kernel<UnitNorms<T>>(launcher, p.params);
    }
  });
}

template <class Launcher>
void launch(Launcher& launcher, const SpreadUnitsParams& p) {
  launch_kernel<SpreadUnits>(launcher, p);
}

/// Scores of 16 or 32 bits.
struct NOfM {
  ElementType type;
  NOfMParams params;
};

template <class Launcher>
void launch(Launcher& launcher, const NOfM& p) {
  with_type(p.type, [&](auto element) {
    using T = decltype(element);
    if constexpr (sizeof(T) <= sizeof(float)) {
      launch_kernel<KeepNOfM<T>>(launcher, p.params);
    }
  });
}

}  // namespace jouleprune::cuda::masks
