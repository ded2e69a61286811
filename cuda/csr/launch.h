// Which csr kernel serves a product, and its launch: one source for the GPU and for the emulator.
#pragma once
#include <algorithm>

#include "csr/by_entries.h"
#include "csr/by_tokens.h"
#include "csr/masked_gradient.h"
#include "csr/pack_tiles.h"
#include "csr/pair_groups.h"
#include "csr/sampled_dots.h"
#include "csr/tile_product.h"
#include "feature_major.h"
#include "launch_kernel.h"

namespace jouleprune::cuda::csr {

/// From this many batch rows on, lanes go along the batch: below, most of them would have none.
inline constexpr int64_t kManyTokens = 32;

/// y = epilogue(W x), x and y batch-major, few batch rows.
template <class T, class Launcher>
void launch_by_entries(Launcher& launcher, const ProductParams& p) {
  launch_kernel<ByEntries<T>>(launcher, p);
}

/// The same, x and y feature-major.
template <class T, class Launcher>
void launch_by_tokens(Launcher& launcher, const ProductParams& p) {
  constexpr int kMost = sizeof(T) == 8 ? 2 : 4;
  p.n <= simt::kLanes ? launch_kernel<ByTokens<T, 1>>(launcher, p) : launch_kernel<ByTokens<T, kMost>>(launcher, p);
}

/// Batch rows of a block of TileProduct.
constexpr int tokens_per_block(int64_t n) { return n <= 8 ? 8 : n <= 16 ? 16 : n <= 32 ? 32 : 64; }
/// Warps of a block with strips of their own: where there are many batch rows, activations are worth sharing.
constexpr int warps_along_rows(int64_t n) { return n <= 16 ? 1 : 4; }

/// Parts that the columns are split into, so that there are two blocks for each multiprocessor; a part has four groups
/// of columns at least, or its start and its sums cost more than they bring.
inline int32_t splits_for(int64_t rows, int64_t cols, int64_t n, int multiprocessors) {
  const int64_t blocks =
      simt::ceil_div<int64_t>(strips_of(rows), warps_along_rows(n)) * simt::ceil_div<int64_t>(n, tokens_per_block(n));
  const int64_t wanted = blocks == 0 ? 1 : 2 * multiprocessors / blocks;
  return static_cast<int32_t>(std::clamp<int64_t>(wanted, 1, std::max<int64_t>(1, groups_per_strip(cols) / 4)));
}

/// Floats of TileParams::partial.
inline int64_t partial_sums(int64_t rows, int64_t n, int32_t splits) {
  const int64_t tokens = tokens_per_block(n);
  return splits <= 1 ? 0 : splits * strips_of(rows) * kGroupRows * simt::ceil_div<int64_t>(n, tokens) * tokens;
}

/// Format: BitmapGroups or PairGroups.
template <class T, class Format, class Launcher>
void launch_tiles(Launcher& launcher, const TileParams& p) {
  switch (tokens_per_block(p.n)) {
    case 8: launch_kernel<TileProduct<T, 1, 1, Format>>(launcher, p); break;
    case 16: launch_kernel<TileProduct<T, 2, 1, Format>>(launcher, p); break;
    case 32: launch_kernel<TileProduct<T, 4, 4, Format>>(launcher, p); break;
    default: launch_kernel<TileProduct<T, 8, 4, Format>>(launcher, p); break;
  }
  if (p.splits > 1) {
    const int64_t tokens = tokens_per_block(p.n);
    launch_kernel<SumSplits<T>>(launcher, {p.partial, p.rows, p.n, strips_of(p.rows) * kGroupRows,
                                           simt::ceil_div<int64_t>(p.n, tokens) * tokens, p.splits, p.y, p.epilogue});
  }
}

}  // namespace jouleprune::cuda::csr
