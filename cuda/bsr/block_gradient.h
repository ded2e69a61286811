// Gradient of the kept blocks: grad[entry, output, within] = sum over the batch of dy[row, output] x[row, column], only
// where a block is kept (a sampled dense-dense product), on tensor cores. A block of threads has kRows outputs of a
// block row and 64 positions of it, as walks.h counts them.
#pragma once
#include "bsr/walks.h"
#include "gradient_tile.h"

namespace jouleprune::cuda::bsr {

template <class Source>
struct GradientParams {
  WalkParams walk;  // kBlocks or kVectors; `values` is not read
  Source x;         // walk.inner lines
  Source dy;        // a line per output
  int64_t most_positions;  // of any group
  void* gradient;          // as the values; 0 for padding
};

template <class T_, Walk kWalk, int kStrips, class Source = Rows>
struct BlockGradient {
  using T = T_;
  using Params = GradientParams<Source>;
  using Tile = GradientTile<T, kStrips, Source>;
  static constexpr int kThreads = Tile::kThreads, kRows = Tile::kRows, kPositions = Tile::kInputs;
  static constexpr bool kVectors = kWalk == Walk::kVectors;
  // The result as it lies in the gradient: outputs of a vector, or positions of a block's row, are neighbours.
  static constexpr int kOutPitch = (kVectors ? kRows : kPositions) + 8;
  static constexpr uint32_t kShared = Tile::kShared;
  static_assert((kVectors ? kPositions : kRows) * kOutPitch * 2 <= kShared);

  static simt::Grid grid(const Params& p) {
    return {p.walk.groups * (p.walk.r / kRows), simt::ceil_div<int64_t>(p.most_positions, kPositions)};
  }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    const auto& w = p.walk;
    const int64_t strips = w.r / kRows, group = ctx.block_x() / strips;
    const auto list = list_of(ctx, w, p.x, group);
    const int output = static_cast<int>(ctx.block_x() - group * strips) * kRows;
    const int64_t p0 = ctx.block_y() * kPositions;
    if (p0 >= list.count * positions_per_entry<kWalk>(w)) {
      return;  // a whole block of threads: block rows are of different lengths
    }
    Tile tile;
    tile.accumulate(
        ctx, p.dy, p.x,
        [&](int line) {
          const int64_t out = group * w.r + output + line;
          return Line{out < p.dy.outputs ? out : -1};
        },
        [&](int line) { return position_of<kWalk>(ctx, w, p.x, list, p0 + line).line; });
    tile.each_sum(ctx, [&](int row, int position, float sum) {
      const int place = kVectors ? position * kOutPitch + row : row * kOutPitch + position;
      ctx.store_shared(static_cast<uint32_t>(place) * 2, simt::narrow<T>(sum));
    });
    ctx.sync();
    store(ctx, p, list, p0, output);
  }

 private:
  // Chunks of eight never straddle two blocks: their sizes are multiples of 8. Padding was zero in an operand.
  template <class Ctx>
  static JP_BODY void store(const Ctx& ctx, const Params& p, const List& list, int64_t p0, int output) {
    const auto& w = p.walk;
    constexpr int kPerLine = (kVectors ? kRows : kPositions) / kChunkElements;
    for (int i = ctx.thread(); i < kRows * kPositions / kChunkElements; i += kThreads) {
      const int line = i / kPerLine, along = i % kPerLine * kChunkElements;
      const int64_t position = p0 + (kVectors ? line : along);
      const int out = output + (kVectors ? along : line), per = positions_per_entry<kWalk>(w);
      const auto entry = static_cast<int64_t>(static_cast<uint32_t>(position) / static_cast<uint32_t>(per));
      if (entry < list.count) {
        const int64_t block = list.first + entry, within = position - entry * per;
        auto* to = static_cast<T*>(p.gradient) + (block * w.r + out) * per + within;
        ctx.store(reinterpret_cast<simt::Chunk*>(to),
                  ctx.template load_shared<simt::Chunk>(static_cast<uint32_t>(line * kOutPitch + along) * 2));
      }
    }
  }
};

}  // namespace jouleprune::cuda::bsr
