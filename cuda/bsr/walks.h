// How a product with a bsr weight walks through its blocks. Every walk gives a group of outputs a list of *positions*,
// the inner index of the product: at each position a row of activations (feature-major) meets one value per output of
// the group. The values are always those of the canonical blocks [blocks, r, c]; the transposed walks read them through
// an index.
//
//   walk                 outputs of a group       positions of a list entry     list entry
//   kBlocks              r rows                   c inputs of a block           block
//   kVectors (c = 1)     r rows                   1 input                       vector
//   kBlocksTransposed    c inputs                 r rows of a block             block, in the order of block columns
//   kVectorsTransposed   16 inputs                r rows                        block row that keeps one of them
#pragma once
#include "simt/platform.h"

namespace jouleprune::cuda::bsr {

enum class Walk { kBlocks, kVectors, kBlocksTransposed, kVectorsTransposed };

/// Inputs of a group of kVectorsTransposed.
inline constexpr int kVectorGroup = 16;

struct WalkParams {
  const void* values;  // [blocks, r, c]
  int32_t r, c;
  const int32_t* offsets;  // [groups + 1]: list entries of each group
  const int32_t* places;   // [entries]: block column, or block row in the transposed walks
  const int32_t* sources;  // kBlocksTransposed: [entries], the block; kVectorsTransposed: [entries, 16], the vector or
                           // -1; else null
  int64_t groups;
  int64_t inner;  // rows of the activations: positions beyond are padding
};

JP_ANYWHERE constexpr bool transposed(Walk walk) {
  return walk == Walk::kBlocksTransposed || walk == Walk::kVectorsTransposed;
}

template <Walk kWalk>
JP_ANYWHERE int group_outputs(const WalkParams& w) {
  return kWalk == Walk::kVectorsTransposed ? kVectorGroup : kWalk == Walk::kBlocksTransposed ? w.c : w.r;
}
template <Walk kWalk>
JP_ANYWHERE int positions_per_entry(const WalkParams& w) {
  return transposed(kWalk) ? w.r : kWalk == Walk::kVectors ? 1 : w.c;
}

/// A position: list entry, place within it, row of the activations (-1: padding, or beyond the list).
struct Position {
  int64_t entry;
  int within;
  int64_t row;
};

template <Walk kWalk, class Ctx>
JP_BODY Position position_of(const Ctx& ctx, const WalkParams& w, int64_t first, int64_t count, int64_t p) {
  if constexpr (kWalk == Walk::kVectors) {
    if (p >= count) {
      return {0, 0, -1};
    }
    return {first + p, 0, ctx.load(w.places + first + p)};
  } else {
    const int per = positions_per_entry<kWalk>(w);
    const auto entry = static_cast<int64_t>(static_cast<uint32_t>(p) / static_cast<uint32_t>(per));
    if (entry >= count) {
      return {0, 0, -1};
    }
    const int within = static_cast<int>(p - entry * per);
    const int64_t row = static_cast<int64_t>(ctx.load(w.places + first + entry)) * per + within;
    return {first + entry, within, row < w.inner ? row : -1};
  }
}

/// Where in the values the weight of output `out` of the group at a position stands, or -1.
template <Walk kWalk, class Ctx>
JP_BODY int64_t value_at(const Ctx& ctx, const WalkParams& w, const Position& at, int out) {
  if (at.row < 0) {
    return -1;
  }
  if constexpr (kWalk == Walk::kBlocks) {
    return (at.entry * w.r + out) * w.c + at.within;
  } else if constexpr (kWalk == Walk::kVectors) {
    return at.entry * w.r + out;
  } else if constexpr (kWalk == Walk::kBlocksTransposed) {
    return (static_cast<int64_t>(ctx.load(w.sources + at.entry)) * w.r + at.within) * w.c + out;
  } else {
    const int64_t vector = ctx.load(w.sources + at.entry * kVectorGroup + out);
    return vector < 0 ? -1 : vector * w.r + at.within;
  }
}

}  // namespace jouleprune::cuda::bsr
