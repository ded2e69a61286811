// The main loop of every product on tensor cores: asynchronous copies run kStages - 1 steps ahead of the products.
#pragma once
#include "simt/platform.h"

namespace jouleprune::cuda {

/// fetch(step, stage) begins the copies of a step into a stage of shared memory, multiply(step, stage) uses them; both
/// by all threads of a block. One barrier per step: it shows the copies of all threads, and that all are done with the
/// stage that is filled next. Ends behind a barrier: shared memory is free.
template <int kStages, class Ctx, class Fetch, class Multiply>
JP_BODY void pipelined(const Ctx& ctx, int64_t steps, const Fetch& fetch, const Multiply& multiply) {
  const auto begin = [&](int64_t step) {
    if (step < steps) {
      fetch(step, static_cast<uint32_t>(step % kStages));
    }
  };
  for (int64_t step = 0; step < kStages - 1; ++step) {
    begin(step);
    ctx.copy_commit();
  }
  for (int64_t step = 0; step < steps; ++step) {
    ctx.template copy_wait<kStages - 2>();
    ctx.sync();
    begin(step + kStages - 1);
    ctx.copy_commit();
    multiply(step, static_cast<uint32_t>(step % kStages));
  }
  ctx.template copy_wait<0>();
  ctx.sync();
}

}  // namespace jouleprune::cuda
