// A dense weight [rows, cols] and what is kept of it -> layout nm, on the device: bit for bit what formats::nm_choose
// and pack_nm on the CPU make of it.
#pragma once
#include "simt/elements.h"

namespace jouleprune::cuda::pack {

struct NmGroupsParams {
  const bool* kept;    // [rows, cols]
  const void* weight;  // [rows, cols]
  int64_t rows, cols, n, m;
  uint8_t* indices;  // [rows, entries of a row]
  void* values;      // the same; 0 where an entry has a place, but is not kept
  bool* over;        // [rows, groups of a row]: more than n are kept; what is written of such a group is no weight
};

JP_ANYWHERE int64_t nm_groups(const NmGroupsParams& p) { return simt::ceil_div(p.cols, p.m); }
JP_ANYWHERE int64_t nm_entries(const NmGroupsParams& p) {
  return p.cols / p.m * p.n + (p.cols % p.m < p.n ? p.cols % p.m : p.n);
}

/// A thread per group: its kept entries, and its first others where these are fewer than n. T: an unsigned number as
/// wide as an element.
template <class T>
struct ChooseEntries {
  using Params = NmGroupsParams;
  static constexpr int kThreads = 256;
  static constexpr uint32_t kShared = 0;

  static simt::Grid grid(const Params& p) { return {simt::ceil_div<int64_t>(p.rows * nm_groups(p), kThreads), 1}; }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const int64_t group = ctx.block_x() * kThreads + ctx.thread();
    if (group >= p.rows * nm_groups(p)) return;
    const int64_t row = group / nm_groups(p), left = group % nm_groups(p) * p.m;
    const int64_t width = left + p.m < p.cols ? p.m : p.cols - left;  // at most 32
    const int64_t first = row * p.cols + left;
    uint32_t kept = 0;
    for (int64_t i = 0; i < width; ++i) kept |= static_cast<uint32_t>(ctx.load(p.kept + first + i)) << i;
    int64_t entries = width < p.n ? width : p.n;
    int64_t others = entries - ctx.popcount(kept);
    ctx.store(p.over + group, others < 0);
    int64_t to = row * nm_entries(p) + left / p.m * p.n;
    for (int64_t i = 0; i < width && entries > 0; ++i) {
      const bool mine = (kept >> i & 1u) != 0;
      if (!mine && others-- <= 0) continue;
      ctx.store(p.indices + to, static_cast<uint8_t>(i));
      ctx.store(static_cast<T*>(p.values) + to, mine ? ctx.load(static_cast<const T*>(p.weight) + first + i) : T{});
      ++to;
      --entries;
    }
  }
};

}  // namespace jouleprune::cuda::pack
