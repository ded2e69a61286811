// The end of the convolutions on tensor cores: sums in fragments become pixels of planes, through shared memory, so that
// what is stored is contiguous. The counterpart of OutputTile, whose results are rows of features.
#pragma once
#include "epilogue.h"
#include "simt/elements.h"

namespace jouleprune::cuda::conv {

/// A pixel of an output whose rows are filled up: x may lie beyond the row.
struct Pixel {
  int64_t image;
  int32_t y, x;
};

template <class T, int kRows, int kTokens>
struct PlanesTile {
  static constexpr int kPitch = kTokens + 8;  // elements; the 8 move neighbouring outputs to other banks
  static constexpr uint32_t kBytes = kRows * kPitch * 2;
  static_assert(sizeof(T) == 2 && kTokens % 8 == 0);

  /// A lane's sums of the 16 x 8 tile whose first sum is at (row, token) of this tile.
  template <class Ctx, class Place>
  static JP_BODY void put(const Ctx& ctx, const Epilogue& epilogue, const Place& place, int row, int token,
                          const simt::Sums& sums) {
    const auto& images = *place.images;
    const int t = token + 2 * (ctx.lane() % 4);  // two pixels of one row: rows are whole chunks of eight
    if (place.token + t >= images.tokens()) {
      return;
    }
    auto pixel = images.pixel(place.token + t);
    JP_UNROLL for (int i = 0; i < 4; ++i) {
      const int r = row + ctx.lane() / 4 + 8 * (i / 2);
      const int64_t out = place.range.first + r;
      const Pixel mine{pixel.image, pixel.y, pixel.x + i % 2};
      const int64_t to = images.result_at(out, mine);
      if (out < place.range.end && to >= 0) {
        ctx.store_shared(static_cast<uint32_t>(r * kPitch + t + i % 2) * 2,
                         finished<T>(ctx, epilogue, sums.v[i], out, to));
      }
    }
  }

  /// By all kThreads threads of a block, behind a barrier. `whole_chunks`: rows of the output are whole chunks at
  /// multiples of 16 bytes.
  template <int kThreads, class Ctx, class Place>
  static JP_BODY void store(const Ctx& ctx, const Place& place, void* y, bool whole_chunks) {
    whole_chunks ? store_by<kThreads, simt::Chunk>(ctx, place, static_cast<T*>(y))
                 : store_by<kThreads, T>(ctx, place, static_cast<T*>(y));
  }

 private:
  // Lanes go along the pixels: each thread has the same ones of every output.
  template <int kThreads, class Stored, class Ctx, class Place>
  static JP_BODY void store_by(const Ctx& ctx, const Place& place, T* y) {
    constexpr int kElements = sizeof(Stored) / sizeof(T), kAcross = kTokens / kElements;
    static_assert(kThreads % kAcross == 0 && kAcross <= kThreads);
    const auto& images = *place.images;
    const int t = ctx.thread() % kAcross * kElements;
    if (place.token + t >= images.tokens()) {
      return;
    }
    const auto pixel = images.pixel(place.token + t);
    for (int r = ctx.thread() / kAcross; r < kRows; r += kThreads / kAcross) {
      const int64_t out = place.range.first + r, to = images.result_at(out, pixel);
      if (out < place.range.end && to >= 0) {
        ctx.store(reinterpret_cast<Stored*>(y + to),
                  ctx.template load_shared<Stored>(static_cast<uint32_t>(r * kPitch + t) * 2));
      }
    }
  }
};

}  // namespace jouleprune::cuda::conv
