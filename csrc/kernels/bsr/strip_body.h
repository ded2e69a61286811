// Compiled once per instruction set by strip_{portable,avx2,avx512,avx512_bf16}.cpp; internal linkage throughout, see csr/vector.h.
#pragma once
#include "kernels/bsr/strip_kernels.h"
#include "kernels/csr/code_tiles_body.h"
#include "kernels/csr/vector_activate.h"

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

/// How entries are added to the sums, and sums stored.
struct MultiplyAdd {
  static constexpr int64_t kValuesPerRow = 1;

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

  template <class T>
  [[gnu::always_inline]] static void store(T* to, Vector<Accumulate<T>> v, int64_t count) {
    store_lanes(to, v, count);
  }
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
      sum = csr::activated<A>(s.activation, sum);
      const int64_t left = rows - v * kLanes<A>;
      if (left > 0) {
        Add::template store<T>(to + j * s.rows + v * kLanes<A>, sum, left < kLanes<A> ? left : kLanes<A>);
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

/// to[i * width + j] = block[j][i]: the columns of a square block of batch rows. What lies beyond the width spills into the next
/// column.
template <class A>
[[gnu::always_inline]] inline void store_columns(Vector<A> (&block)[kLanes<A>], A* to, int64_t width) {
  csr::transpose<A>(block);
  for (int i = 0; i < kLanes<A>; ++i) {
    csr::store(to + i * width, block[i]);
  }
}

#if defined(__AVX512F__)
/// The same for 8 batch rows of 16: half a vector per column, so that three make a panel of 24 and no store crosses a cache line.
[[gnu::always_inline]] inline void store_columns_of_8(const Vector<float> (&rows)[8], float* to, int64_t width) {
  const __m512i even = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), odd = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
  __m512 t[8];
  for (int i = 0; i < 8; i += 4) {  // 4 x 4 blocks within each quarter: t[i + s] holds columns s, s + 4, s + 8, s + 12 of 4 rows
    const __m512 low01 = _mm512_unpacklo_ps(rows[i], rows[i + 1]), high01 = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    const __m512 low23 = _mm512_unpacklo_ps(rows[i + 2], rows[i + 3]), high23 = _mm512_unpackhi_ps(rows[i + 2], rows[i + 3]);
    t[i] = _mm512_shuffle_ps(low01, low23, 0x44);
    t[i + 1] = _mm512_shuffle_ps(low01, low23, 0xee);
    t[i + 2] = _mm512_shuffle_ps(high01, high23, 0x44);
    t[i + 3] = _mm512_shuffle_ps(high01, high23, 0xee);
  }
  for (int s = 0; s < 4; ++s) {
    const __m512d upper = _mm512_castps_pd(t[s]), lower = _mm512_castps_pd(t[s + 4]);
    const __m512d first = _mm512_permutex2var_pd(upper, even, lower), second = _mm512_permutex2var_pd(upper, odd, lower);
    const auto store_half = [&](int column, __m256d half) { _mm256_storeu_ps(to + column * width, _mm256_castpd_ps(half)); };
    store_half(s, _mm512_castpd512_pd256(first));
    store_half(s + 4, _mm512_extractf64x4_pd(first, 1));
    store_half(s + 8, _mm512_castpd512_pd256(second));
    store_half(s + 12, _mm512_extractf64x4_pd(second, 1));
  }
}
#endif

/// Packs `whole` columns, a multiple of the lanes; row(j, c) loads a vector of batch row j from column c on.
template <class A, class Row>
[[gnu::always_inline]] inline void pack_columns(const Row& row, int64_t count, int64_t whole, int64_t width, A* panel) {
  constexpr int kSide = kLanes<A>;
#if defined(__AVX512F__)
  if constexpr (sizeof(A) == 4) {
    if (width % 8 == 0) {
      for (int64_t c = 0; c < whole; c += kSide) {
        for (int64_t first = 0; first < width; first += 8) {
          Vector<float> block[8];
          for (int j = 0; j < 8; ++j) {
            block[j] = first + j < count ? row(first + j, c) : Vector<float>{};
          }
          store_columns_of_8(block, panel + c * width + first, width);
        }
      }
      return;
    }
  }
#endif
  // Later batch rows first: what they spill into the next column is written again.
  for (int64_t first = (width - 1) / kSide * kSide; first >= 0; first -= kSide) {
    for (int64_t c = 0; c < whole; c += kSide) {
      Vector<A> block[kSide];
      for (int j = 0; j < kSide; ++j) {
        block[j] = first + j < count ? row(first + j, c) : Vector<A>{};
      }
      store_columns<A>(block, panel + c * width + first, width);
    }
  }
}

template <class T>
void pack(const T* x, int64_t stride, int64_t count, int64_t cols, int64_t width, Accumulate<T>* panel) {
  using A = Accumulate<T>;
  const int64_t whole = cols / kLanes<A> * kLanes<A>;
  pack_columns<A>([&](int64_t j, int64_t c) { return csr::load_wide(x + j * stride + c); }, count, whole, width, panel);
  for (int64_t c = whole; c < cols; ++c) {
    for (int64_t j = 0; j < width; ++j) {
      panel[c * width + j] = j < count ? widen(x[j * stride + c]) : A{0};
    }
  }
}

/// `kEntries` neighbours of a strip: their sums in registers, the rows of the gradient in `grad` [count, kStripRows].
template <class A, int kEntries>
void gradient_of(const A* grad, const A* panel, int64_t width, int64_t count, const int32_t* columns, A* sums) {
  constexpr int64_t kRows = kStripVectors * kLanes<A>;
  const A* x[kEntries];
  Vector<A> totals[kEntries][kStripVectors];
  for (int e = 0; e < kEntries; ++e) {
    x[e] = panel + columns[e] * width;
    for (int v = 0; v < kStripVectors; ++v) {
      totals[e][v] = csr::load(sums + e * kRows + v * kLanes<A>);
    }
  }
  for (int64_t j = 0; j < count; ++j) {
    for (int v = 0; v < kStripVectors; ++v) {
      const Vector<A> g = csr::load(grad + j * kRows + v * kLanes<A>);
      for (int e = 0; e < kEntries; ++e) {
        totals[e][v] += g * csr::splat<A>(x[e][j]);
      }
    }
  }
  for (int e = 0; e < kEntries; ++e) {
    for (int v = 0; v < kStripVectors; ++v) {
      csr::store(sums + e * kRows + v * kLanes<A>, totals[e][v]);
    }
  }
}

template <class T>
void gradient(const T* grad_output, int64_t stride, int64_t rows, const Accumulate<T>* panel, int64_t width, int64_t count,
              const int32_t* columns, int64_t entries, Accumulate<T>* sums) {
  using A = Accumulate<T>;
  constexpr int64_t kRows = kStripRows<T>;
  constexpr int kGroup = 8 / kStripVectors;  // entries whose sums fit into registers beside the pointers to their activations
  alignas(64) A grad[kWidth * kRows];
  for (int64_t j = 0; j < count; ++j) {
    for (int64_t i = 0; i < kRows; ++i) {
      grad[j * kRows + i] = i < rows ? widen(grad_output[j * stride + i]) : A{0};
    }
  }
  int64_t k = 0;
  for (; k + kGroup <= entries; k += kGroup) {
    gradient_of<A, kGroup>(grad, panel, width, count, columns + k, sums + k * kRows);
  }
  for (; k < entries; ++k) {
    gradient_of<A, 1>(grad, panel, width, count, columns + k, sums + k * kRows);
  }
}

template <class T>
constexpr StripKernels<T> make_strip_kernels() {
  return {kWidth, width_for, pack<T>, multiply<T, MultiplyAdd>, gradient<T>};
}
constexpr StripTables make_strip_tables() {
  return {make_strip_kernels<float>(), make_strip_kernels<double>(), make_strip_kernels<BFloat16>(), make_strip_kernels<Half>()};
}

}  // namespace
}  // namespace jouleprune::kernels::bsr
