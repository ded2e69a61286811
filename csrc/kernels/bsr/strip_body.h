// Compiled once per instruction set by strip_{portable,avx2,avx512,avx512_bf16}.cpp; internal linkage throughout, see csr/vector.h.
#pragma once
#include "kernels/bsr/strip_kernels.h"
#include "kernels/csr/code_tiles_body.h"

namespace jouleprune::kernels::bsr {
namespace {

using csr::kLanes;
using csr::kVectorBytes;
using csr::Vector;

constexpr int kStripVectors = 64 / kVectorBytes;
/// Batch rows of a full panel: with the vectors of a strip they fill the registers with sums (24 of 32, 12 of 16), and leave room
/// for the weights and, where multiply-adds cannot broadcast from memory, for an activation.
constexpr int kWidth = kStripVectors == 1 ? 24 : kStripVectors == 2 ? 6 : 3;

/// The first `count` lanes, 1 to kLanes.
template <class T>
[[gnu::always_inline]] inline void store_lanes(T* to, Vector<Accumulate<T>> v, int64_t count) {
  if constexpr (sizeof(T) == sizeof(Accumulate<T>)) {
    if (count >= kLanes<T>) {
      return csr::store(to, v);
    }
  }
  if constexpr (sizeof(T) == 8) {
    for (int64_t i = 0; i < count; ++i) {
      to[i] = v[i];
    }
  } else {
    csr::store_part(to, v, count);
  }
}

/// Adds one entry to the sums.
struct MultiplyAdd {
  template <class T, int kCount>
  [[gnu::always_inline]] static void add(Vector<Accumulate<T>> (&sums)[kCount][kStripVectors], const T* values,
                                         const Accumulate<T>* x) {
    using A = Accumulate<T>;
    Vector<A> w[kStripVectors];
    for (int v = 0; v < kStripVectors; ++v) {
      w[v] = csr::load_wide(values + v * kLanes<A>);
    }
#pragma GCC unroll 24
    for (int j = 0; j < kCount; ++j) {
      const Vector<A> activation = csr::splat<A>(x[j]);
      for (int v = 0; v < kStripVectors; ++v) {
        sums[j][v] += w[v] * activation;
      }
    }
  }
  static constexpr int64_t kValuesPerRow = 1;
};

template <class T, class Add, int kCount>
void multiply_tile(const Strips<T>& s, int64_t strip, const Accumulate<T>* panel, int64_t count, T* output) {
  using A = Accumulate<T>;
  constexpr int64_t kEntry = kStripRows<T> * Add::kValuesPerRow;
  constexpr int kChains = kCount >= 3 ? 1 : 4 / kCount;  // independent sums, to hide the latency of a multiply-add
  const int64_t row = strip * kStripRows<T>, rows = s.rows - row < kStripRows<T> ? s.rows - row : kStripRows<T>;
  T* const to = output + row;
  for (int64_t j = 0; j < count; ++j) {
    __builtin_prefetch(to + j * s.rows, 1, 3);
  }
  Vector<A> sums[kChains][kCount][kStripVectors];
#pragma GCC unroll 24
  for (int j = 0; j < kCount; ++j) {
    for (int v = 0; v < kStripVectors; ++v) {
      sums[0][j][v] = csr::load(s.start + row + v * kLanes<A>);
      for (int chain = 1; chain < kChains; ++chain) {
        sums[chain][j][v] = Vector<A>{};
      }
    }
  }
  int64_t k = s.offsets[strip];
  const int64_t end = s.offsets[strip + 1];
  const T* values = s.values + k * kEntry;
  for (; k + kChains <= end; k += kChains, values += kChains * kEntry) {
    for (int chain = 0; chain < kChains; ++chain) {
      Add::template add<T>(sums[chain], values + chain * kEntry, panel + static_cast<int64_t>(s.columns[k + chain]) * kCount);
    }
  }
  for (; k < end; ++k, values += kEntry) {
    Add::template add<T>(sums[0], values, panel + static_cast<int64_t>(s.columns[k]) * kCount);
  }
#pragma GCC unroll 24
  for (int j = 0; j < kCount; ++j) {
    if (j >= count) {
      break;
    }
    for (int v = 0; v < kStripVectors; ++v) {
      Vector<A> sum = sums[0][j][v];
      for (int chain = 1; chain < kChains; ++chain) {
        sum += sums[chain][j][v];
      }
      sum = s.relu ? (sum < Vector<A>{} ? Vector<A>{} : sum) : sum;
      const int64_t left = rows - v * kLanes<A>;
      if (left > 0) {
        store_lanes(to + j * s.rows + v * kLanes<A>, sum, left < kLanes<A> ? left : kLanes<A>);
      }
    }
  }
}

template <class T, class Add>
void multiply(const Strips<T>& s, int64_t strip, const Accumulate<T>* panel, int64_t width, int64_t count, T* output) {
  switch (width) {
    case 1: return multiply_tile<T, Add, 1>(s, strip, panel, count, output);
    case 2: return multiply_tile<T, Add, 2>(s, strip, panel, count, output);
    case 3: return multiply_tile<T, Add, 3>(s, strip, panel, count, output);
    case 4: return multiply_tile<T, Add, kWidth >= 4 ? 4 : 1>(s, strip, panel, count, output);
    case 6: return multiply_tile<T, Add, kWidth >= 6 ? 6 : 1>(s, strip, panel, count, output);
    case 8: return multiply_tile<T, Add, kWidth >= 8 ? 8 : 1>(s, strip, panel, count, output);
    case 16: return multiply_tile<T, Add, kWidth >= 16 ? 16 : 1>(s, strip, panel, count, output);
    default: return multiply_tile<T, Add, kWidth>(s, strip, panel, count, output);
  }
}

int64_t width_for(int64_t count) {
  constexpr int64_t kWidths[] = {1, 2, 3, 4, 6, 8, 16};
  for (const int64_t width : kWidths) {
    if (width >= count && width < kWidth) {
      return width;
    }
  }
  return kWidth;
}

template <class T>
void pack(const T* x, int64_t stride, int64_t count, int64_t cols, int64_t width, Accumulate<T>* panel) {
  using A = Accumulate<T>;
  constexpr int kSide = kLanes<A>;
  const int64_t whole = cols / kSide * kSide;
  // Stores may reach beyond the width, into the next column: later batch rows first, so that what they spill is written again.
  for (int64_t first = (width - 1) / kSide * kSide; first >= 0; first -= kSide) {
    for (int64_t c = 0; c < whole; c += kSide) {
      Vector<A> block[kSide];
      for (int j = 0; j < kSide; ++j) {
        block[j] = first + j < count ? csr::load_wide(x + (first + j) * stride + c) : Vector<A>{};
      }
      csr::transpose<A>(block);
      for (int i = 0; i < kSide; ++i) {
        csr::store(panel + (c + i) * width + first, block[i]);
      }
    }
  }
  for (int64_t c = whole; c < cols; ++c) {
    for (int64_t j = 0; j < width; ++j) {
      panel[c * width + j] = j < count ? widen(x[j * stride + c]) : A{0};
    }
  }
}

template <class T>
constexpr StripKernels<T> make_strip_kernels() {
  return {kWidth, width_for, pack<T>, multiply<T, MultiplyAdd>};
}
constexpr StripTables make_strip_tables() {
  return {make_strip_kernels<float>(), make_strip_kernels<double>(), make_strip_kernels<BFloat16>(), make_strip_kernels<Half>()};
}

}  // namespace
}  // namespace jouleprune::kernels::bsr
