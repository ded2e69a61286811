// Zeroes in place what a mask of bits does not keep: element i is bit i % 8 of byte i / 8. Elements of one size are
// alike: zero is zero in all of their types.
#pragma once
#include "simt/platform.h"

namespace jouleprune::cuda::masks {

struct ApplyBitsParams {
  void* data;           // [count]
  const uint8_t* bits;  // [ceil(count / 8)]
  int64_t count;
};

template <class T>
struct ApplyBits {
  using Params = ApplyBitsParams;
  static constexpr int kThreads = 256;
  static constexpr uint32_t kShared = 0;

  static simt::Grid grid(const Params& p) { return {simt::ceil_div<int64_t>(p.count, kThreads), 1}; }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const int64_t i = ctx.block_x() * kThreads + ctx.thread();
    if (i < p.count && (ctx.load(p.bits + i / 8) >> (i % 8) & 1) == 0) {
      ctx.store(static_cast<T*>(p.data) + i, T{});
    }
  }
};

}  // namespace jouleprune::cuda::masks
