// Values of a weight in the order of its tiles (tiles.h), on the device: structure stays, values change with every step
// of training.
#pragma once
#include "simt/elements.h"

namespace jouleprune::cuda::csr {

struct PackTilesParams {
  const void* values;    // [nnz]
  const int32_t* order;  // [count]: -1 where nothing is kept
  void* packed;          // [count]
  int64_t count;
};

template <class T>
struct PackTiles {
  using Params = PackTilesParams;
  static constexpr int kThreads = 256;
  static constexpr uint32_t kShared = 0;

  static simt::Grid grid(const Params& p) { return {simt::ceil_div<int64_t>(p.count, kThreads), 1}; }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const int64_t i = ctx.block_x() * kThreads + ctx.thread();
    if (i < p.count) {
      const int32_t from = ctx.load(p.order + i);
      ctx.store(static_cast<T*>(p.packed) + i, from < 0 ? T{} : ctx.load(static_cast<const T*>(p.values) + from));
    }
  }
};

}  // namespace jouleprune::cuda::csr
