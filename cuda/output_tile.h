// The end of the products on tensor cores: sums in fragments become rows of the output, through shared memory, so that
// what is stored is contiguous.
#pragma once
#include "epilogue.h"
#include "simt/elements.h"

namespace jouleprune::cuda {

/// Where a block's tile of the output begins, and what the output ends with.
struct OutputPlace {
  int64_t row, token;  // output features, batch rows
  int64_t rows, n;
};

template <class T, int kRows, int kTokens>
struct OutputTile {
  static constexpr int kPitch = kRows + 8;  // elements; the 8 move neighbouring batch rows to other banks
  static constexpr uint32_t kBytes = kTokens * kPitch * 2;
  static_assert(sizeof(T) == 2 && kRows % 8 == 0);

  /// A lane's sums of the 16 x 8 tile whose first sum is at (row, token) of this tile.
  template <class Ctx>
  static JP_BODY void put(const Ctx& ctx, const Epilogue& epilogue, const OutputPlace& place, int row, int token,
                          const simt::Sums& sums) {
    JP_UNROLL for (int i = 0; i < 4; ++i) {
      const int r = row + ctx.lane() / 4 + 8 * (i / 2), t = token + 2 * (ctx.lane() % 4) + i % 2;
      const int64_t out = place.row + r, batch_row = place.token + t;
      if (out < place.rows && batch_row < place.n) {
        const T y = finished<T>(ctx, epilogue, sums.v[i], out, batch_row * place.rows + out);
        ctx.store_shared(static_cast<uint32_t>(t * kPitch + r) * 2, y);
      }
    }
  }

  /// By all kThreads threads of a block, behind a barrier. `whole_chunks`: rows of y begin at multiples of 16 bytes.
  template <int kThreads, class Ctx>
  static JP_BODY void store(const Ctx& ctx, const OutputPlace& place, void* y, bool whole_chunks) {
    constexpr int kPerChunk = 8, kChunks = kRows / kPerChunk;
    for (int i = ctx.thread(); i < kTokens * kChunks; i += kThreads) {
      const int t = i / kChunks, r = i % kChunks * kPerChunk;
      const int64_t out = place.row + r, batch_row = place.token + t;
      if (batch_row >= place.n || out >= place.rows) {
        continue;
      }
      auto* to = static_cast<T*>(y) + batch_row * place.rows + out;
      const uint32_t from = static_cast<uint32_t>(t * kPitch + r) * 2;
      if (whole_chunks && out + kPerChunk <= place.rows) {
        ctx.store(reinterpret_cast<simt::Chunk*>(to), ctx.template load_shared<simt::Chunk>(from));
      } else {
        for (int j = 0; j < kPerChunk && out + j < place.rows; ++j) {
          ctx.store(to + j, ctx.template load_shared<T>(from + 2 * static_cast<uint32_t>(j)));
        }
      }
    }
  }
};

}  // namespace jouleprune::cuda
