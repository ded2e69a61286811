// Masks, as launchers take them. Pointers are of the device; knows neither torch nor CUDA.
#pragma once
#include <cstdint>

#include "element_type.h"
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

struct Norms {
  ElementType type;  // of the scores
  UnitNormsParams params;
};

template <class Launcher>
void launch(Launcher& launcher, const Norms& p) {
  constexpr int64_t kSmall = 64;  // entries: two for each lane of a warp
  with_type(p.type, [&](auto element) {
    using T = decltype(element);
    const auto run = [&](auto kernel) {
      using Kernel = decltype(kernel);
      launcher.template launch<Kernel>(Kernel::grid(p.params), Kernel::kShared, p.params);
    };
    const auto& units = p.params.units;
    units.r <= kSmall && units.c <= kSmall / units.r ? run(SmallUnitNorms<T>{}) : run(UnitNorms<T>{});
  });
}

template <class Launcher>
void launch(Launcher& launcher, const SpreadUnitsParams& p) {
  launcher.template launch<SpreadUnits>(SpreadUnits::grid(p), SpreadUnits::kShared, p);
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
      launcher.template launch<KeepNOfM<T>>(KeepNOfM<T>::grid(p.params), KeepNOfM<T>::kShared, p.params);
    }
  });
}

}  // namespace jouleprune::cuda::masks
