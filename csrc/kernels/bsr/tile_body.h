// The loops of tile_kernels.h over a class of tile operations; internal linkage, see csr/vector.h. `Tiles` has
//   Tiles(), ~Tiles()                    takes and gives back the thread's tile registers, 8 of 16 rows x 64 bytes
//   load<t>(p, stride)                   16 rows of 64 bytes, `stride` bytes apart
//   store<t>(p, stride)
//   multiply<sums, left, right>()        float sums[m][n] += left[m][2k] right[k][2n] + left[m][2k + 1] right[k][2n + 1]
#pragma once
#include "kernels/bsr/tile_kernels.h"
#include "kernels/csr/code_tiles_body.h"
#include "kernels/csr/vector_activate.h"
#include "kernels/each_tile.h"

namespace jouleprune::kernels::bsr {
namespace {

/// Activates and rounds a tile of sums into the output.
inline void store_sums(const float* sums, int64_t count, int64_t rows, Activation activation, BFloat16* to, int64_t stride) {
  constexpr int64_t kStep = csr::kLanes<float>;
  for (int64_t j = 0; j < count; ++j) {
    for (int64_t i = 0; i < rows; i += kStep) {
      const auto v = csr::activated<float>(activation, csr::load(sums + j * kTileRows + i));
      csr::store_part(to + j * stride + i, v, rows - i < kStep ? rows - i : kStep);
    }
  }
}

/// One band and up to kBatch tiles of batch rows. Sums are tiles [strip * kBatch + batch], the others follow.
template <class Tiles, int kStrips, int kBatch>
void multiply_band(Tiles& tiles, const TileBands& w, int64_t band, const BFloat16* input, int64_t stride, int64_t count,
                   BFloat16* output) {
  constexpr int kSums = kStrips * kBatch, kWeights = kSums, kInputs = kWeights + kStrips;
  constexpr int kFree = 8 - kInputs;  // tiles of activations that can be under way at once
  static_assert(kFree >= 1);
  const int64_t line = stride * static_cast<int64_t>(sizeof(BFloat16)), row = band * kStrips * kTileRows;
  for_each_tile<kSums>([&]<int t>() { tiles.template load<t>(w.start + row + t / kBatch * kTileRows, 0); });  // every batch row alike
  for (int64_t k = w.offsets[band]; k < w.offsets[band + 1]; ++k) {
    const BFloat16* const values = w.values + k * kStrips * kTileValues;
    const BFloat16* const x = input + w.columns[k] * kTileInputs;
    for_each_tile<kStrips>([&]<int s>() { tiles.template load<kWeights + s>(values + s * kTileValues, 64); });
    for_each_tile<kBatch>([&]<int b>() {
      constexpr int kInput = kInputs + b % kFree;
      tiles.template load<kInput>(x + b * kTileRows * stride, line);
      for_each_tile<kStrips>([&]<int s>() { tiles.template multiply<s * kBatch + b, kInput, kWeights + s>(); });
    });
  }
  alignas(64) float sums[kTileRows * kTileRows];
  for_each_tile<kSums>([&]<int t>() {
    const int64_t first = t % kBatch * kTileRows, top = row + t / kBatch * kTileRows;
    if (first < count && top < w.rows) {
      tiles.template store<t>(sums, 64);
      store_sums(sums, count - first < kTileRows ? count - first : kTileRows, w.rows - top < kTileRows ? w.rows - top : kTileRows,
                 w.activation, output + first * w.rows + top, w.rows);
    }
  });
}

template <class Tiles, int kStrips, int kBatch>
void multiply_bands(const TileBands& w, const BFloat16* input, int64_t stride, int64_t count, int64_t begin, int64_t end,
                    BFloat16* output) {
  Tiles tiles;
  for (int64_t band = begin; band < end; ++band) {
    multiply_band<Tiles, kStrips, kBatch>(tiles, w, band, input, stride, count, output);
  }
}

template <class Tiles>
void multiply_tiles(const TileBands& w, const BFloat16* input, int64_t stride, int64_t count, int64_t begin, int64_t end,
                    BFloat16* output) {
  const int64_t batch = (count + kTileRows - 1) / kTileRows;
  const auto run = [&](auto* bands) { bands(w, input, stride, count, begin, end, output); };
  if (w.strips == 2) {
    return batch == 1 ? run(&multiply_bands<Tiles, 2, 1>) : run(&multiply_bands<Tiles, 2, 2>);
  }
  switch (batch) {
    case 1: return run(&multiply_bands<Tiles, 1, 1>);
    case 2: return run(&multiply_bands<Tiles, 1, 2>);
    case 3: return run(&multiply_bands<Tiles, 1, 3>);
    default: return run(&multiply_bands<Tiles, 1, 4>);
  }
}

}  // namespace
}  // namespace jouleprune::kernels::bsr
