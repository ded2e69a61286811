// CSR x many batch rows: one warp per row, lanes along the batch, kPerLane neighbouring batch rows each. Activations
// and results are feature-major, so every access of a warp is contiguous; a lane reads one entry, and shuffles hand it
// to the others. After Gale et al., "Sparse GPU Kernels for Deep Learning", SC 2020 (one-dimensional tiling, row
// swizzle).
#pragma once
#include "csr/csr_params.h"
#include "csr/entries.h"
#include "simt/elements.h"

namespace jouleprune::cuda::csr {

/// Neighbouring batch rows, loaded and stored at once.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Neighbours {
  T v[kCount];
};

template <class T_, int kPerLane>
struct ByTokens {
  using T = T_;
  using Sum = simt::SumOf<T>;
  using Params = ProductParams;
  using Tokens = Neighbours<T, kPerLane>;
  static constexpr int kThreads = 128, kWarps = kThreads / simt::kLanes, kTokens = kPerLane * simt::kLanes;
  static constexpr uint32_t kShared = 0;
  static_assert(sizeof(Tokens) <= 16 && 8 % kPerLane == 0,
                "one load of a lane, at a multiple of its size: pitches are multiples of 8");

  static simt::Grid grid(const Params& p) {
    return {simt::ceil_div<int64_t>(p.matrix.rows, kWarps), simt::ceil_div<int64_t>(p.n, kTokens)};
  }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const auto& m = p.matrix;
    const int64_t place = ctx.block_x() * kWarps + ctx.warp(), token = ctx.block_y() * kTokens + ctx.lane() * kPerLane;
    if (place >= m.rows) {
      return;  // a whole warp: nothing here waits for other warps
    }
    const int64_t row = ctx.load(m.order + place);
    Sum sums[kPerLane] = {};
    for_each_entry<T>(
        ctx, m, ctx.load(m.offsets + row), ctx.load(m.offsets + row + 1), [](int32_t column) { return column; },
        [&](Sum value, int32_t column) {
          if (token < p.n) {
            const int64_t from = static_cast<int64_t>(column) * p.x_stride + token;
            const auto x = ctx.load(reinterpret_cast<const Tokens*>(static_cast<const T*>(p.x) + from));
            JP_UNROLL for (int i = 0; i < kPerLane; ++i) { sums[i] += value * static_cast<Sum>(simt::widen(x.v[i])); }
          }
        });
    if (token < p.n) {
      Tokens y;
      JP_UNROLL for (int i = 0; i < kPerLane; ++i) {
        // Beyond n: the padding of a row, which nobody reads.
        y.v[i] = token + i < p.n ? finished<T>(ctx, p.epilogue, sums[i], row, (token + i) * m.rows + row) : T{};
      }
      ctx.store(reinterpret_cast<Tokens*>(static_cast<T*>(p.y) + row * p.y_stride + token), y);
    }
  }
};

}  // namespace jouleprune::cuda::csr
