// The loops of gathered_kernels.h over a class of tile operations (amx_tiles.h); internal linkage, see csr/vector.h.
#pragma once
#include <algorithm>
#include <cstring>

#include "kernels/bsr/gathered_kernels.h"
#include "kernels/csr/code_tiles_body.h"
#include "kernels/csr/vector_activate.h"
#include "kernels/each_tile.h"

namespace jouleprune::kernels::bsr {
namespace {

/// 64 bytes of a tile or panel as words that hold two values.
using Words [[gnu::vector_size(64), gnu::may_alias]] = uint32_t;
constexpr uint32_t kLowHalf = 0xffff;

// By reference: passed as values they would have an ABI of their own without AVX-512.
[[gnu::always_inline]] inline void store_low_halves(void* to, const Words& a, const Words& b) {
  *static_cast<Words*>(to) = (a & kLowHalf) | (b << 16);
}
[[gnu::always_inline]] inline void store_high_halves(void* to, const Words& a, const Words& b) {
  *static_cast<Words*>(to) = (a >> 16) | (b & ~kLowHalf);
}

/// words[p]: inputs 2p and 2p + 1 of up to 16 batch rows, from `width` <= 32 inputs of each.
inline void turn_pairs(const BFloat16* x, int64_t stride, int64_t count, int64_t width, Words (&words)[kTileRows]) {
#if defined(__AVX512F__)
  const auto mask = static_cast<__mmask32>((uint64_t{1} << width) - 1);
  csr::Vector<float> block[kTileRows];
  for (int j = 0; j < kTileRows; ++j) {
    block[j] = j >= count ? csr::Vector<float>{} : _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(mask, x + j * stride));
  }
  csr::transpose<float>(block);
  for (int p = 0; p < kTileRows; ++p) {
    words[p] = reinterpret_cast<Words>(block[p]);
  }
#else
  for (int p = 0; p < kTileRows; ++p) {
    for (int j = 0; j < kTileRows; ++j) {
      BFloat16 pair[2] = {{0}, {0}};
      for (int half = 0; half < 2 && j < count; ++half) {
        if (2 * p + half < width) pair[half] = x[j * stride + 2 * p + half];
      }
      uint32_t word = 0;
      std::memcpy(&word, pair, sizeof(word));
      words[p][j] = word;
    }
  }
#endif
}

void pack_panel(const BFloat16* input, int64_t stride, int64_t count, int64_t cols, BFloat16* panel) {
  const int64_t low = std::min(count, kTileRows);
  for (int64_t c = 0; c < cols; c += kTileInputs) {
    const int64_t width = std::min(kTileInputs, cols - c);
    Words first[kTileRows], second[kTileRows];
    turn_pairs(input + c, stride, low, width, first);
    turn_pairs(input + kTileRows * stride + c, stride, count - low, width, second);
    for (int64_t p = 0; 2 * p < width; ++p) {
      BFloat16* const to = panel + (c + 2 * p) * kPanelRows;
      store_low_halves(to, first[p], second[p]);
      store_high_halves(to + kPanelRows, first[p], second[p]);
    }
  }
  std::fill_n(panel + zero_column(cols) * kPanelRows, kPanelRows, BFloat16{0});
}

/// Sums [16 outputs][16 batch rows] activated, rounded and turned into the output.
inline void store_turned(const float* sums, int64_t count, int64_t rows, Activation activation, BFloat16* to, int64_t stride) {
  constexpr int64_t kStep = csr::kLanes<float>;
  for (int64_t i = 0; i < rows; i += kStep) {
    for (int64_t j = 0; j < count; j += kStep) {
      csr::Vector<float> block[kStep];
      for (int64_t k = 0; k < kStep; ++k) {
        block[k] = csr::load(sums + (i + k) * kTileRows + j);
      }
      csr::transpose<float>(block);
      for (int64_t k = 0; k < std::min(kStep, count - j); ++k) {
        csr::store_part(to + (j + k) * stride + i, csr::activated<float>(activation, block[k]), std::min(kStep, rows - i));
      }
    }
  }
}

/// One band and one panel, of which kBatch tiles of 16 batch rows count. Sums are tiles [strip * kBatch + batch], the others follow.
template <class Tiles, int kStrips, int kBatch>
class GatheredBand {
 public:
  GatheredBand(Tiles& tiles, const GatheredBands& w, const BFloat16* panel) : tiles_(tiles), w_(w), panel_(panel) {}

  void run(int64_t band, int64_t count, BFloat16* output) {
    start(band);
    const int64_t begin = w_.offsets[band], end = w_.offsets[band + 1];
    for (int64_t step = begin; step < std::min(end, begin + kAhead); ++step) {
      gather(step);
    }
    for (int64_t step = begin; step < end; ++step) {
      if (step + kAhead < end) {
        gather(step + kAhead);
      }
      const BFloat16* const values = w_.values + step * kStrips * kTileValues;
      for_each_tile<kStrips>([&]<int s>() { tiles_.template load<kWeights + s>(values + s * kTileValues, kLine); });
      for_each_tile<kBatch>([&]<int b>() {
        tiles_.template load<kInputs + b>(buffer(step, b), kLine);
        for_each_tile<kStrips>([&]<int s>() { tiles_.template multiply<s * kBatch + b, kWeights + s, kInputs + b>(); });
      });
    }
    store(band, count, output);
  }

 private:
  static constexpr int kSums = kStrips * kBatch, kWeights = kSums, kInputs = kWeights + kStrips;
  static_assert(kInputs + kBatch <= 8);
  static constexpr int64_t kLine = 64, kTile = 1024;  // bytes
  // Gathered some steps ahead: a tile that is loaded from lines that stores have yet to reach waits for them.
  static constexpr int64_t kAhead = 2, kBuffers = 4;
  static_assert(kBuffers > kAhead);

  char* buffer(int64_t step, int64_t batch) { return lines_ + (step % kBuffers * kBatch + batch) * kTile; }

  void gather(int64_t step) {
    const int32_t* const columns = w_.columns + step * kTileInputs;
    for (int64_t p = 0; p < kTileRows; ++p) {
      const auto column = [&](int64_t k) -> const Words& { return *reinterpret_cast<const Words*>(panel_ + columns[k] * kPanelRows); };
      const Words &even = column(2 * p), &odd = column(2 * p + 1);
      store_low_halves(buffer(step, 0) + p * kLine, even, odd);
      if constexpr (kBatch == 2) {
        store_high_halves(buffer(step, 1) + p * kLine, even, odd);
      }
    }
  }

  void start(int64_t band) {
    alignas(64) float first[kStrips * kTileRows][kTileRows];
    for (int64_t i = 0; i < kStrips * kTileRows; ++i) {
      std::fill_n(first[i], kTileRows, w_.start[band * kStrips * kTileRows + i]);
    }
    for_each_tile<kSums>([&]<int t>() { tiles_.template load<t>(first[t / kBatch * kTileRows], kLine); });  // every batch row alike
  }

  void store(int64_t band, int64_t count, BFloat16* output) {
    alignas(64) float sums[kSums][kTileRows * kTileRows];
    for_each_tile<kSums>([&]<int t>() { tiles_.template store<t>(sums[t], kLine); });
    for (int64_t t = 0; t < kSums; ++t) {
      const int64_t first = t % kBatch * kTileRows, top = (band * kStrips + t / kBatch) * kTileRows;
      if (top < w_.rows) {
        store_turned(sums[t], std::min(count - first, kTileRows), std::min(w_.rows - top, kTileRows), w_.activation,
                     output + first * w_.rows + top, w_.rows);
      }
    }
  }

  Tiles& tiles_;
  const GatheredBands& w_;
  const BFloat16* panel_;
  alignas(64) char lines_[kBuffers * kBatch * kTile];
};

template <class Tiles, int kStrips, int kBatch>
void multiply_gathered_bands(const GatheredBands& w, const BFloat16* panel, int64_t count, int64_t begin, int64_t end, BFloat16* output) {
  Tiles tiles;
  GatheredBand<Tiles, kStrips, kBatch> product(tiles, w, panel);
  for (int64_t band = begin; band < end; ++band) {
    product.run(band, count, output);
  }
}

template <class Tiles>
void multiply_gathered(const GatheredBands& w, const BFloat16* panel, int64_t count, int64_t begin, int64_t end, BFloat16* output) {
  const bool one = count <= kTileRows;
  const auto run = [&](auto* bands) { bands(w, panel, count, begin, end, output); };
  if (w.strips == 2) {
    return one ? run(&multiply_gathered_bands<Tiles, 2, 1>) : run(&multiply_gathered_bands<Tiles, 2, 2>);
  }
  one ? run(&multiply_gathered_bands<Tiles, 1, 1>) : run(&multiply_gathered_bands<Tiles, 1, 2>);
}

}  // namespace
}  // namespace jouleprune::kernels::bsr
