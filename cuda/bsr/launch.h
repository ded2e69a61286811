// Which kernel serves a product, and its launch: one source for the GPU and for the emulator. Launcher:
// simt::DeviceLauncher or simt::host::Launcher.
#pragma once
#include <type_traits>

#include "bsr/block_gradient.h"
#include "bsr/block_gradient_fma.h"
#include "bsr/strip_fma.h"
#include "bsr/strip_product.h"
#include "feature_major.h"

namespace jouleprune::cuda::bsr {

/// Block sizes that tensor cores take: strips of 16 outputs, chunks of 8 elements along both sides (or vectors).
constexpr bool fits_tensor_cores(int32_t r, int32_t c) { return r % 16 == 0 && (c == 1 || c % 16 == 0); }

template <class T>
inline constexpr bool kIs16Bit = sizeof(T) == 2;

/// Strips of a block of threads: as many as divide the group's outputs, so that a row of activations serves all of
/// them.
constexpr int strips_for(int outputs) { return outputs % 64 == 0 ? 4 : outputs % 32 == 0 ? 2 : 1; }

template <class T, Walk kWalk, int kStrips, class Launcher>
void launch_strips(Launcher& launcher, const StripParams& p) {
  const auto run = [&](auto kernel) {
    using Kernel = decltype(kernel);
    launcher.template launch<Kernel>(Kernel::grid(p), Kernel::kShared, p);
  };
  // Few batch rows: the warps share the positions instead, for one tile of 8 has no room for four of them.
  if (p.n <= 8) {
    run(StripProduct<T, kWalk, kStrips, 1, 1>{});
  } else if (p.n <= 32) {
    run(StripProduct<T, kWalk, kStrips, 2, 2>{});
  } else if (p.n <= 64) {
    run(StripProduct<T, kWalk, kStrips, 2, 4>{});
  } else {
    run(StripProduct<T, kWalk, kStrips, 4, 4>{});
  }
}

/// y = epilogue(walk(values) x); p.x is feature-major.
template <class T, Walk kWalk, class Launcher>
void launch_product(Launcher& launcher, const StripParams& p) {
  if constexpr (kIs16Bit<T>) {
    if (fits_tensor_cores(p.walk.r, p.walk.c)) {
      switch (strips_for(group_outputs<kWalk>(p.walk))) {
        case 4:
          if constexpr (kWalk != Walk::kVectorsTransposed) {
            return launch_strips<T, kWalk, 4>(launcher, p);
          }
        case 2:
          if constexpr (kWalk != Walk::kVectorsTransposed) {
            return launch_strips<T, kWalk, 2>(launcher, p);
          }
        default: return launch_strips<T, kWalk, 1>(launcher, p);
      }
    }
  }
  const auto run = [&](auto kernel) {
    using Kernel = decltype(kernel);
    launcher.template launch<Kernel>(Kernel::grid(p), Kernel::kShared, p);
  };
  constexpr int kMany = sizeof(simt::SumOf<T>) == 4 ? 4 : 2;  // batch rows per lane
  p.n <= simt::kLanes ? run(StripFma<T, kWalk, 1>{}) : run(StripFma<T, kWalk, kMany>{});
}

template <class T, class Launcher>
void launch_feature_major(Launcher& launcher, const FeatureMajorParams& p) {
  launcher.template launch<FeatureMajor<T>>(FeatureMajor<T>::grid(p), FeatureMajor<T>::kShared, p);
}

/// The gradient of the blocks; p.x and p.dy are feature-major.
template <class T, class Launcher>
void launch_gradient(Launcher& launcher, const GradientParams& p) {
  const auto run = [&](auto kernel) {
    using Kernel = decltype(kernel);
    launcher.template launch<Kernel>(Kernel::grid(p), Kernel::kShared, p);
  };
  if constexpr (kIs16Bit<T>) {
    if (fits_tensor_cores(p.walk.r, p.walk.c)) {
      const int strips = strips_for(p.walk.r);
      if (p.walk.c == 1) {
        return strips == 4   ? run(BlockGradient<T, Walk::kVectors, 4>{})
               : strips == 2 ? run(BlockGradient<T, Walk::kVectors, 2>{})
                             : run(BlockGradient<T, Walk::kVectors, 1>{});
      }
      return strips == 4   ? run(BlockGradient<T, Walk::kBlocks, 4>{})
             : strips == 2 ? run(BlockGradient<T, Walk::kBlocks, 2>{})
                           : run(BlockGradient<T, Walk::kBlocks, 1>{});
    }
  }
  run(BlockGradientFma<T>{});
}

}  // namespace jouleprune::cuda::bsr
