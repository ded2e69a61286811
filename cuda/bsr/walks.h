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
#include "rows.h"
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

/// The list entries of a group. `base`: of the source of the activations.
struct List {
  int64_t first, count, base;
};

template <class Source, class Ctx>
JP_BODY List list_of(const Ctx& ctx, const WalkParams& w, const Source& source, int64_t group) {
  const int64_t first = ctx.load(w.offsets + group);
  return {first, ctx.load(w.offsets + group + 1) - first, source.list_base(group)};
}

/// A position: list entry, place within it, its line of the activations (row -1: padding, or beyond the list), and the
/// positions from it on before padding begins.
struct Position {
  int64_t entry;
  int within;
  Line line;
  int64_t left;
};

template <Walk kWalk, class Source, class Ctx>
JP_BODY Position position_of(const Ctx& ctx, const WalkParams& w, const Source& source, const List& list, int64_t p) {
  const int per = kWalk == Walk::kVectors ? 1 : positions_per_entry<kWalk>(w);
  const int64_t entry =
      kWalk == Walk::kVectors ? p : static_cast<int64_t>(static_cast<uint32_t>(p) / static_cast<uint32_t>(per));
  if (entry >= list.count) {
    return {0, 0, {-1}, 0};
  }
  const int within = kWalk == Walk::kVectors ? 0 : static_cast<int>(p - entry * per);
  const auto found =
      source.locate(ctx, w.inner, list.base, ctx.load(w.places + list.first + entry), per, within);
  return {list.first + entry, within, found.line, found.left};
}

/// Where in the values the weight of output `out` of the group at a position stands, or -1.
template <Walk kWalk, class Ctx>
JP_BODY int64_t value_at(const Ctx& ctx, const WalkParams& w, const Position& at, int out) {
  if (at.line.row < 0) {
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
