// A dense weight [rows, cols] and what is kept of it -> layout csr, on the device: count each row, add up, write. The
// order is the canonical one and nothing is rounded, so that the result is the CPU's bit for bit (formats/csr_pack.h).
#pragma once
#include "simt/elements.h"

namespace jouleprune::cuda::pack {

struct CsrRowsParams {
  const bool* kept;  // [rows, cols]
  int64_t rows, cols;
  int32_t* counts;   // [rows]: scratch
  int32_t* offsets;  // [rows + 1]; cut off where they pass int32: look at `total` before they are used
  int64_t* total;    // [1]: kept entries
};

/// Kept entries of each row; a warp per row.
struct CountRows {
  using Params = CsrRowsParams;
  static constexpr int kThreads = 256, kWarps = kThreads / simt::kLanes;
  static constexpr uint32_t kShared = 0;

  static simt::Grid grid(const Params& p) { return {simt::ceil_div<int64_t>(p.rows, kWarps), 1}; }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const int64_t row = ctx.block_x() * kWarps + ctx.warp();
    if (row >= p.rows) return;  // a whole warp
    int32_t count = 0;
    for (int64_t col = ctx.lane(); col < p.cols; col += simt::kLanes) count += ctx.load(p.kept + row * p.cols + col);
    for (int mask = simt::kLanes / 2; mask > 0; mask /= 2) count += ctx.shuffle_xor(count, mask);
    if (ctx.lane() == 0) ctx.store(p.counts + row, count);
  }
};

/// Counts of rows become offsets. One block: each thread adds up a run of rows, then knows where its run begins.
struct AddUpRows {
  using Params = CsrRowsParams;
  static constexpr int kThreads = 256;
  static constexpr uint32_t kShared = kThreads * 8;

  static simt::Grid grid(const Params&) { return {1, 1}; }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const int64_t each = simt::ceil_div<int64_t>(p.rows, kThreads), first = ctx.thread() * each;
    const int64_t end = first + each < p.rows ? first + each : p.rows;
    int64_t sum = 0;
    for (int64_t row = first; row < end; ++row) sum += ctx.load(p.counts + row);
    ctx.store_shared(static_cast<uint32_t>(ctx.thread()) * 8, sum);
    ctx.sync();
    int64_t before = 0;
    for (int t = 0; t < ctx.thread(); ++t) before += ctx.template load_shared<int64_t>(static_cast<uint32_t>(t) * 8);
    if (ctx.thread() == 0) ctx.store(p.offsets, 0);
    if (ctx.thread() == kThreads - 1) ctx.store(p.total, before + sum);
    for (int64_t row = first; row < end; ++row) {
      before += ctx.load(p.counts + row);
      ctx.store(p.offsets + row + 1, static_cast<int32_t>(before));
    }
  }
};

struct CsrEntriesParams {
  const bool* kept;        // [rows, cols]
  const void* weight;      // [rows, cols]
  const int32_t* offsets;  // [rows + 1]
  int64_t rows, cols, nnz;
  int32_t* columns;  // [nnz]
  void* values;      // [nnz]
};

/// A warp per row: 32 columns at a time, each kept one after those that the lanes before it keep. T: an unsigned number
/// as wide as an element.
template <class T>
struct WriteEntries {
  using Params = CsrEntriesParams;
  static constexpr int kThreads = 256, kWarps = kThreads / simt::kLanes;
  static constexpr uint32_t kShared = 0;

  static simt::Grid grid(const Params& p) { return {simt::ceil_div<int64_t>(p.rows, kWarps), 1}; }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const int64_t row = ctx.block_x() * kWarps + ctx.warp();
    if (row >= p.rows) return;  // a whole warp
    int64_t next = ctx.load(p.offsets + row);
    for (int64_t left = 0; left < p.cols; left += simt::kLanes) {
      const int64_t col = left + ctx.lane(), at = row * p.cols + col;
      const bool mine = col < p.cols && ctx.load(p.kept + at);
      const uint32_t kept = ctx.ballot(mine);
      if (mine) {
        const int64_t to = next + ctx.popcount(kept & ((1u << ctx.lane()) - 1));
        ctx.store(p.columns + to, static_cast<int32_t>(col));
        ctx.store(static_cast<T*>(p.values) + to, ctx.load(static_cast<const T*>(p.weight) + at));
      }
      next += ctx.popcount(kept);
    }
  }
};

}  // namespace jouleprune::cuda::pack
