// Which kernel serves a product, and its launch: one source for the GPU and for the emulator. Launcher:
// simt::DeviceLauncher or simt::host::Launcher.
#pragma once
#include <type_traits>

#include "bsr/block_gradient.h"
#include "bsr/block_gradient_fma.h"
#include "bsr/linear_bsr.h"
#include "bsr/strip_fma.h"
#include "bsr/strip_product.h"
#include "feature_major.h"
#include "launch_kernel.h"

namespace jouleprune::cuda::bsr {

template <class T>
inline constexpr bool kIs16Bit = sizeof(T) == 2;

/// Strips of a block of threads: as many as divide the group's outputs, so that a row of activations serves all of
/// them.
constexpr int strips_for(int outputs) { return outputs % 64 == 0 ? 4 : outputs % 32 == 0 ? 2 : 1; }

template <class T, Walk kWalk, int kStrips, class Source, class Launcher>
void launch_strips(Launcher& launcher, const StripParams<Source>& p) {
  const int64_t n = p.x.tokens();
  // Few batch rows: the warps share the positions instead, for one tile of 8 has no room for four of them.
  if constexpr (Source::kOftenFew) {
    if (n <= 8) {
      return launch_kernel<StripProduct<T, kWalk, kStrips, 1, 1, Source>>(launcher, p);
    }
    if (n > 32 && n <= 64) {
      return launch_kernel<StripProduct<T, kWalk, kStrips, 2, 4, Source>>(launcher, p);
    }
  }
  n <= 32 ? launch_kernel<StripProduct<T, kWalk, kStrips, 2, 2, Source>>(launcher, p)
          : launch_kernel<StripProduct<T, kWalk, kStrips, 4, 4, Source>>(launcher, p);
}

/// y = epilogue(walk(values) x)
template <class T, Walk kWalk, class Source, class Launcher>
void launch_product(Launcher& launcher, const StripParams<Source>& p) {
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
  const auto run = [&](auto kernel) { launch_kernel<decltype(kernel)>(launcher, p); };
  constexpr int kMany = sizeof(simt::SumOf<T>) == 4 ? 4 : 2;  // batch rows per lane
  p.x.tokens() <= simt::kLanes ? run(StripFma<T, kWalk, 1, Source>{}) : run(StripFma<T, kWalk, kMany, Source>{});
}

/// With the weight as it stands, by blocks or vectors.
template <class T, class Source, class Launcher>
void launch_forward(Launcher& launcher, const StripParams<Source>& p) {
  const bool vectors = kIs16Bit<T> && p.walk.c == 1 && fits_tensor_cores(p.walk.r, p.walk.c);
  vectors ? launch_product<T, Walk::kVectors>(launcher, p) : launch_product<T, Walk::kBlocks>(launcher, p);
}

/// With its transpose, by an index.
template <class T, class Source, class Launcher>
void launch_transposed(Launcher& launcher, const StripParams<Source>& p) {
  p.walk.c == 1 ? launch_product<T, Walk::kVectorsTransposed>(launcher, p)
                : launch_product<T, Walk::kBlocksTransposed>(launcher, p);
}

template <class T, class Launcher>
void launch_feature_major(Launcher& launcher, const FeatureMajorParams& p) {
  launch_kernel<FeatureMajor<T>>(launcher, p);
}

/// The gradient of the blocks.
template <class T, class Source, class Launcher>
void launch_gradient(Launcher& launcher, const GradientParams<Source>& p) {
  const auto run = [&](auto kernel) { launch_kernel<decltype(kernel)>(launcher, p); };
  if constexpr (kIs16Bit<T>) {
    if (fits_tensor_cores(p.walk.r, p.walk.c)) {
      const int strips = strips_for(p.walk.r);
      if (p.walk.c == 1) {
        return strips == 4   ? run(BlockGradient<T, Walk::kVectors, 4, Source>{})
               : strips == 2 ? run(BlockGradient<T, Walk::kVectors, 2, Source>{})
                             : run(BlockGradient<T, Walk::kVectors, 1, Source>{});
      }
      return strips == 4   ? run(BlockGradient<T, Walk::kBlocks, 4, Source>{})
             : strips == 2 ? run(BlockGradient<T, Walk::kBlocks, 2, Source>{})
                           : run(BlockGradient<T, Walk::kBlocks, 1, Source>{});
    }
  }
  run(BlockGradientFma<T, Source>{});
}

}  // namespace jouleprune::cuda::bsr
