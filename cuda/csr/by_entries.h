// CSR x few batch rows: one warp per row, lanes along its entries, kBatch batch rows at a time; activations are
// gathered where they lie. A row's values and columns are read once per kBatch batch rows, coalesced. Row split as in
// Yang, Buluc, Owens, "Design Principles for Sparse Matrix Multiplication on the GPU", Euro-Par 2018.
#pragma once
#include "csr/csr_params.h"
#include "simt/elements.h"

namespace jouleprune::cuda::csr {

template <class T_>
struct ByEntries {
  using T = T_;
  using Sum = simt::SumOf<T>;
  using Params = ProductParams;
  static constexpr int kThreads = 128, kWarps = kThreads / simt::kLanes, kBatch = 8;
  static constexpr uint32_t kShared = 0;

  static simt::Grid grid(const Params& p) {
    return {simt::ceil_div<int64_t>(p.matrix.rows, kWarps), simt::ceil_div<int64_t>(p.n, kBatch)};
  }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const auto& m = p.matrix;
    const int64_t place = ctx.block_x() * kWarps + ctx.warp(), first = ctx.block_y() * kBatch;
    if (place >= m.rows) {
      return;  // a whole warp: nothing here waits for other warps
    }
    const int64_t row = ctx.load(m.order + place);
    const int64_t begin = ctx.load(m.offsets + row), end = ctx.load(m.offsets + row + 1);
    Sum sums[kBatch] = {};
    for (int64_t k = begin + ctx.lane(); k < end; k += simt::kLanes) {
      const int64_t source = m.sources == nullptr ? k : ctx.load(m.sources + k);
      const Sum w = static_cast<Sum>(simt::widen(ctx.load(static_cast<const T*>(m.values) + source)));
      const auto* x = static_cast<const T*>(p.x) + first * p.x_stride + ctx.load(m.columns + k);
      JP_UNROLL for (int b = 0; b < kBatch; ++b) {
        if (first + b < p.n) {
          sums[b] += w * static_cast<Sum>(simt::widen(ctx.load(x + b * p.x_stride)));
        }
      }
    }
    JP_UNROLL for (int b = 0; b < kBatch; ++b) {
      Sum sum = sums[b];
      for (int mask = simt::kLanes / 2; mask > 0; mask /= 2) {
        sum += ctx.shuffle_xor(sum, mask);
      }
      if (ctx.lane() == b && first + b < p.n) {
        const int64_t to = (first + b) * m.rows + row;
        ctx.store(static_cast<T*>(p.y) + to, finished<T>(ctx, p.epilogue, sum, row, to));
      }
    }
  }
};

}  // namespace jouleprune::cuda::csr
