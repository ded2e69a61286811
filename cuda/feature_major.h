// Activations from batch-major [n, features] to feature-major [features, pitch], pitch a multiple of 8 and the rows
// beyond n zero: the kernels gather features as whole rows, in copies of 16 bytes. Tiles of 32 x 32 through shared
// memory, whose pitch of 33 elements keeps both directions free of conflicts for 4-byte elements.
#pragma once
#include "simt/elements.h"

namespace jouleprune::cuda {

struct FeatureMajorParams {
  const void* input;     // [n, features]
  int64_t input_stride;  // elements from one batch row to the next
  int64_t n, features;
  void* output;   // [features, pitch]
  int64_t pitch;  // elements; at least n
};

JP_ANYWHERE constexpr int64_t feature_major_pitch(int64_t n) { return simt::ceil_div<int64_t>(n, 8) * 8; }

template <class T>
struct FeatureMajor {
  using Params = FeatureMajorParams;
  static constexpr int kThreads = 256, kTile = 32, kRowsAtOnce = kThreads / kTile;
  static constexpr uint32_t kShared = kTile * (kTile + 1) * sizeof(T);

  /// Blocks along the features go to x, which alone may exceed 65,535.
  static simt::Grid grid(const Params& p) { return {simt::ceil_div<int64_t>(p.features, kTile), blocks_of_n(p)}; }
  static int64_t blocks_of_n(const Params& p) {
    const auto tiles = simt::ceil_div<int64_t>(p.pitch, kTile);
    return tiles < 65535 ? tiles : 65535;
  }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const int along = ctx.thread() % kTile, first = ctx.thread() / kTile;
    const int64_t feature = ctx.block_x() * kTile;
    for (int64_t token = ctx.block_y() * kTile; token < p.pitch; token += ctx.blocks_y() * kTile) {
      for (int i = first; i < kTile; i += kRowsAtOnce) {
        const bool inside = token + i < p.n && feature + along < p.features;
        const auto* from = static_cast<const T*>(p.input) + (token + i) * p.input_stride + feature + along;
        ctx.store_shared(at(i, along), inside ? ctx.load(from) : T{});
      }
      ctx.sync();
      for (int i = first; i < kTile; i += kRowsAtOnce) {
        if (feature + i < p.features && token + along < p.pitch) {
          ctx.store(static_cast<T*>(p.output) + (feature + i) * p.pitch + token + along,
                    ctx.template load_shared<T>(at(along, i)));
        }
      }
      ctx.sync();
    }
  }

 private:
  static JP_BODY uint32_t at(int row, int column) {
    return static_cast<uint32_t>((row * (kTile + 1) + column) * sizeof(T));
  }
};

}  // namespace jouleprune::cuda
