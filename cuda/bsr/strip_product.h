// Product of a bsr weight with feature-major activations on tensor cores, 16-bit elements, sums in float32:
//   y[token, output] = epilogue(sum over positions of value(position, output) x[row(position), token])
// One block of threads computes kRows outputs of one group for kTokens batch rows. It walks the positions of the group
// in steps of kDepth: values and rows of activations go to shared memory by asynchronous copies of 16 bytes, kStages -
// 1 steps ahead; ldmatrix turns them into operands in whichever order they lie, so neither the weight nor its transpose
// is ever copied. Gathering is free: a row of activations is fetched from wherever its index says. Values are read once
// per kTokens batch rows. Metadata and swizzle after Gale et al., "MegaBlocks", MLSys 2023, and CUTLASS; vectors after
// Chen et al., "Efficient Tensor Core-Based GPU Kernels for Structured Sparsity under Reduced Precision", SC 2021.
#pragma once
#include "bsr/walks.h"
#include "epilogue.h"
#include "pipeline.h"
#include "simt/elements.h"
#include "swizzle.h"

namespace jouleprune::cuda::bsr {

/// Source: Rows (rows.h) of a Linear, Images (conv/images.h) of a convolution.
template <class Source>
struct StripParams {
  WalkParams walk;
  Source x;           // walk.inner lines
  void* y;            // as the source lays results out
  bool whole_chunks;  // rows of y begin at multiples of 16 bytes
  Epilogue epilogue;
};

/// kStrips: strips of 16 outputs per block; 16 kStrips divides the outputs of a group. kTiles: tiles of 8 batch rows
/// per warp. kWarpsN: warps side by side along the batch; the others share the positions of a step, and their sums are
/// added in order.
template <class T_, Walk kWalk, int kStrips, int kTiles, int kWarpsN, class Source = Rows>
struct StripProduct {
  using T = T_;
  using Params = StripParams<Source>;
  static constexpr int kWarps = 4, kThreads = kWarps * simt::kLanes, kStages = 3;
  static constexpr int kWarpsK = kWarps / kWarpsN;
  static constexpr int kRows = 16 * kStrips, kTokens = 8 * kTiles * kWarpsN;
  static constexpr int kDepth = kWarpsK == 4 ? 64 : 32;  // positions of a step
  static constexpr int kSlabs = kDepth / 16 / kWarpsK;   // products over 16 positions, per warp and step
  static constexpr bool kByRows =
      kWalk == Walk::kBlocks || kWalk == Walk::kVectorsTransposed;  // neighbours: positions, else outputs
  static constexpr int kAChunks = (kByRows ? kDepth : kRows) / kChunkElements, kXChunks = kTokens / kChunkElements;
  static constexpr uint32_t kABytes = kRows * kDepth * 2, kXBytes = kDepth * kTokens * 2;
  static constexpr uint32_t kStageBytes = kABytes + kXBytes;
  using Output = typename Source::template Output<T, kRows, kTokens>;
  static constexpr uint32_t kOutBytes = Output::kBytes, kSumBytes = (kWarpsK - 1) * kTokens * kRows * 4;
  static constexpr uint32_t kShared =
      kStages * kStageBytes > kOutBytes + kSumBytes ? kStages* kStageBytes : kOutBytes + kSumBytes;
  static_assert(kWarpsN * kWarpsK == kWarps && kSlabs >= 1, "four warps, each with a slab of every step");
  static_assert(kTiles == 1 || kTiles % 2 == 0, "ldmatrix brings two tiles of the batch at once");
  static_assert(kShared <= 48 * 1024, "beyond 48 KB a launch must ask");

  static simt::Grid grid(const Params& p) {
    const int64_t strips = simt::ceil_div(group_outputs<kWalk>(p.walk), kRows);
    return {p.walk.groups * strips, simt::ceil_div<int64_t>(p.x.tokens(), kTokens)};
  }

  template <class Ctx>
  static JP_BODY void run(const Ctx& ctx, const Params& p) {
    StripProduct self;
    self.product(ctx, p);
  }

 private:
  static constexpr int kXRowsPerThread = kDepth * kXChunks >= kThreads ? kDepth * kXChunks / kThreads : 1;
  static constexpr int kAPerThread = simt::ceil_div(kRows * kDepth / kChunkElements, kThreads);

  static_assert(kThreads % kXChunks == 0, "a thread copies the same batch rows at every position");

  List list;
  int64_t positions;
  typename Source::Cursor cursor;  // of the batch rows that this thread copies
  int output;                      // first one of this block within the group
  simt::Sums sums[kStrips][kTiles];

  template <class Ctx>
  JP_BODY void product(const Ctx& ctx, const Params& p) {
    const auto& w = p.walk;
    const int64_t strips = simt::ceil_div(group_outputs<kWalk>(w), kRows);
    const int64_t group = ctx.block_x() / strips, token = ctx.block_y() * kTokens;
    output = static_cast<int>(ctx.block_x() - group * strips) * kRows;
    list = list_of(ctx, w, p.x, group);
    cursor = p.x.cursor(token + ctx.thread() % kXChunks * kChunkElements);
    positions = list.count * positions_per_entry<kWalk>(w);
    const int64_t steps = simt::ceil_div<int64_t>(positions, kDepth);
    JP_UNROLL for (int s = 0; s < kStrips; ++s) {
      JP_UNROLL for (int t = 0; t < kTiles; ++t) { sums[s][t] = {}; }
    }
    // Phase 1: products.
    pipelined<kStages>(
        ctx, steps, [&](int64_t step, uint32_t stage) { fetch(ctx, p, step, stage * kStageBytes); },
        [&](int64_t, uint32_t stage) { multiply(ctx, stage * kStageBytes); });
    // Phase 2: sums to the output.
    add_sums_of_warps(ctx);
    const auto place = p.x.place(p.x.outputs_of(group, group_outputs<kWalk>(w)), output, token);
    if (ctx.warp() / kWarpsN == 0) {
      JP_UNROLL for (int s = 0; s < kStrips; ++s) {
        JP_UNROLL for (int t = 0; t < kTiles; ++t) {
          Output::put(ctx, p.epilogue, place, 16 * s, 8 * (ctx.warp() % kWarpsN * kTiles + t), sums[s][t]);
        }
      }
    }
    ctx.sync();
    Output::template store<kThreads>(ctx, place, p.y, p.whole_chunks);
  }

  template <class Ctx>
  JP_BODY void fetch(const Ctx& ctx, const Params& p, int64_t step, uint32_t stage) const {
    JP_UNROLL for (int i = 0; i < kXRowsPerThread; ++i) {
      const int chunk = ctx.thread() + i * kThreads, row = chunk / kXChunks, along = chunk % kXChunks;
      if (row < kDepth) {
        const auto at = position_of<kWalk>(ctx, p.walk, p.x, list, step * kDepth + row);
        const int64_t from = p.x.at(at.line, cursor);
        ctx.copy_async(stage + kABytes + swizzled<kXChunks>(row, along),
                       static_cast<const T*>(p.x.data) + (from >= 0 ? from : 0), from >= 0);
      }
    }
    JP_UNROLL for (int i = 0; i < kAPerThread; ++i) {
      const int chunk = ctx.thread() + i * kThreads;
      if (chunk < kRows * kDepth / kChunkElements) {
        fetch_values(ctx, p, step * kDepth, chunk / kAChunks, chunk % kAChunks, stage);
      }
    }
  }

  // A chunk of values: eight positions of one output, or eight outputs at one position.
  template <class Ctx>
  JP_BODY void fetch_values(const Ctx& ctx, const Params& p, int64_t p0, int row, int along, uint32_t stage) const {
    const auto& w = p.walk;
    const uint32_t to = stage + swizzled<kAChunks>(row, along);
    const auto* values = static_cast<const T*>(w.values);
    const auto at = position_of<kWalk>(ctx, w, p.x, list, p0 + (kByRows ? along * kChunkElements : row));
    const int64_t from = value_at<kWalk>(ctx, w, at, output + (kByRows ? row : along * kChunkElements));
    if constexpr (kByRows) {
      if (from >= 0 && at.left < kChunkElements) {  // the last positions are padding, which is not looked at
        simt::Chunk chunk{};
        JP_UNROLL for (int i = 0; i < kChunkElements; ++i) {
          const uint32_t bits = i < at.left ? ctx.load(values + from + i).bits : 0u;
          chunk.words[i / 2] |= bits << (16 * (i & 1));
        }
        ctx.store_shared(to, chunk);
        return;
      }
    }
    ctx.copy_async(to, values + (from >= 0 ? from : 0), from >= 0);
  }

  template <class Ctx>
  JP_BODY void multiply(const Ctx& ctx, uint32_t stage) {
    const int lane = ctx.lane(), warp_n = ctx.warp() % kWarpsN, warp_k = ctx.warp() / kWarpsN;
    JP_UNROLL for (int slab = 0; slab < kSlabs; ++slab) {
      const int k = 16 * (warp_k * kSlabs + slab);
      simt::Fragment b[(kTiles + 1) / 2];
      JP_UNROLL for (int pair = 0; pair < (kTiles + 1) / 2; ++pair) {
        // Matrices in the order (k, tile): rows of x are rows of k, so the operand is their transpose. A single tile is
        // read twice.
        const int along = warp_n * kTiles + 2 * pair + (kTiles == 1 ? 0 : lane / 16);
        b[pair] = ctx.template load_matrices<true>(stage + kABytes + swizzled<kXChunks>(k + lane % 16, along));
      }
      JP_UNROLL for (int s = 0; s < kStrips; ++s) {
        const auto a = load_values(ctx, stage, k, s, lane);
        JP_UNROLL for (int t = 0; t < kTiles; ++t) {
          ctx.template mma<T>(sums[s][t], a, b[t / 2].r[2 * (t % 2)], b[t / 2].r[2 * (t % 2) + 1]);
        }
      }
    }
  }

  // Quadrants in the order of the operand: (outputs 0-7, k 0-7), (8-15, 0-7), (0-7, 8-15), (8-15, 8-15).
  template <class Ctx>
  static JP_BODY simt::Fragment load_values(const Ctx& ctx, uint32_t stage, int k, int strip, int lane) {
    if constexpr (kByRows) {
      return ctx.template load_matrices<false>(
          stage + swizzled<kAChunks>(16 * strip + lane % 16, k / kChunkElements + lane / 16));
    } else {
      return ctx.template load_matrices<true>(
          stage + swizzled<kAChunks>(k + lane % 8 + 8 * (lane / 16), 2 * strip + lane / 8 % 2));
    }
  }

  // In the order of the warps, so that results do not depend on who comes first.
  template <class Ctx>
  JP_BODY void add_sums_of_warps(const Ctx& ctx) {
    if constexpr (kWarpsK > 1) {
      const int warp_n = ctx.warp() % kWarpsN, warp_k = ctx.warp() / kWarpsN;
      const auto at = [&](int k, int s, int t, int i) {
        const int index = (((k - 1) * kWarpsN + warp_n) * kStrips + s) * kTiles + t;
        return kOutBytes + static_cast<uint32_t>((index * 4 + i) * simt::kLanes + ctx.lane()) * 4;
      };
      for (int s = 0; warp_k > 0 && s < kStrips; ++s) {
        for (int t = 0; t < kTiles; ++t) {
          for (int i = 0; i < 4; ++i) {
            ctx.store_shared(at(warp_k, s, t, i), sums[s][t].v[i]);
          }
        }
      }
      ctx.sync();
      for (int k = 1; warp_k == 0 && k < kWarpsK; ++k) {
        JP_UNROLL for (int s = 0; s < kStrips; ++s) {
          JP_UNROLL for (int t = 0; t < kTiles; ++t) {
            JP_UNROLL for (int i = 0; i < 4; ++i) {
              sums[s][t].v[i] += ctx.template load_shared<float>(at(k, s, t, i));
            }
          }
        }
      }
    }
  }
};

}  // namespace jouleprune::cuda::bsr
