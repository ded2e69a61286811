// The inner loops of raster_kernels.h over the vectors of vector.h. Included once per instruction set, by
// raster_{portable,avx2,avx512}.cpp, each with its own compiler options. Internal linkage throughout, see vector.h.
#pragma once
#include "kernels/csr/raster_kernels.h"
#include "kernels/csr/raster_multiply.h"
#include "kernels/csr/raster_tables.h"
#include "kernels/csr/vector.h"

namespace jouleprune::kernels::csr {
namespace {

template <class A>
[[gnu::always_inline]] inline Vector<A> clamped(Vector<A> x) {
  return x < Vector<A>{} ? Vector<A>{} : x;
}

template <class A>
[[gnu::always_inline]] inline void store_zeros(A* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = A{0};
  }
}

#if defined(__AVX512F__)
[[gnu::always_inline]] inline Vector<float> load_first(const float* from, int64_t count) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), from);
}
#elif defined(__AVX2__)
[[gnu::always_inline]] inline Vector<float> load_first(const float* from, int64_t count) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_maskload_ps(from, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lanes));
}
#endif
/// The first `count` elements, less than a vector, and zeros.
template <class T>
[[gnu::always_inline]] inline Vector<Accumulate<T>> load_first(const T* from, int64_t count) {
  Vector<Accumulate<T>> v{};
  for (int64_t i = 0; i < count; ++i) {
    v[i] = widen(from[i]);
  }
  return v;
}

/// Whole vectors throughout: what overshoots is overwritten by the row or the zeros that come next. 256 planes of 14 x 14: 12 us,
/// 13 with masked stores.
template <class T>
void fill_plane(const T* from, int64_t stride, const RowCopy* copies, int64_t copy_count, int64_t, Accumulate<T>* to, int64_t) {
  using A = Accumulate<T>;
  constexpr int64_t kStep = kLanes<A>;
  for (const RowCopy* copy = copies; copy + 1 < copies + copy_count; ++copy) {
    for (int64_t i = 0; i < copy->zeros; i += kStep) {
      store(to + copy->to + i, Vector<A>{});
    }
    const T* const row = from + copy->from;
    A* const out = to + copy->to + copy->zeros;
    if (stride == 1) {
      int64_t i = 0;
      for (; i + kStep <= copy->count; i += kStep) {
        store(out + i, load_wide(row + i));
      }
      if (i < copy->count) {
        store(out + i, load_first(row + i, copy->count - i));
      }
    } else if (stride == 2) {
      for (int64_t i = 0; i < copy->count; ++i) {
        out[i] = widen(row[2 * i]);
      }
    } else {
      for (int64_t i = 0; i < copy->count; ++i) {
        out[i] = widen(row[i * stride]);
      }
    }
  }
  store_zeros(to + copies[copy_count - 1].to, copies[copy_count - 1].zeros);
}

template <class T>
void fill_pixels(const T* from, int64_t stride, const RowCopy* copies, int64_t copy_count, int64_t channels, Accumulate<T>* to,
                 int64_t plane) {
  using A = Accumulate<T>;
  constexpr int kSide = kLanes<A>;
  for (const RowCopy* copy = copies; copy != copies + copy_count; ++copy) {
    for (int64_t c = 0; c < channels; ++c) {
      store_zeros(to + c * plane + copy->to, copy->zeros);
    }
    const T* const row = from + copy->from;
    A* const out = to + copy->to + copy->zeros;
    int64_t i = 0;
    for (; channels == kSide && i + kSide <= copy->count; i += kSide) {
      Vector<A> block[kSide];
      for (int s = 0; s < kSide; ++s) {
        block[s] = load_wide(row + (i + s) * stride);
      }
      transpose<A>(block);
      for (int s = 0; s < kSide; ++s) {
        store(out + s * plane + i, block[s]);
      }
    }
    for (; i < copy->count; ++i) {
      for (int64_t c = 0; c < channels; ++c) {
        out[c * plane + i] = widen(row[i * stride + c]);
      }
    }
  }
}

#if defined(__AVX512F__)
/// Masked loads put each run of pixels into its lanes.
template <int kCopies>
void gather_masked(const float* planes, const int32_t* columns, int64_t count, const PixelCopy* copies, int64_t width,
                   float* to) {
  __mmask16 masks[kCopies];
  int64_t shifts[kCopies];
  for (int q = 0; q < kCopies; ++q) {
    masks[q] = static_cast<__mmask16>(((1u << copies[q].count) - 1) << copies[q].to);
    shifts[q] = copies[q].from - copies[q].to;
  }
  for (int64_t c = 0; c < count; ++c, to += width) {
    const float* const from = planes + columns[c];
    __m512 v = _mm512_maskz_loadu_ps(masks[0], from + shifts[0]);
    for (int q = 1; q < kCopies; ++q) {
      v = _mm512_mask_loadu_ps(v, masks[q], from + shifts[q]);
    }
    _mm512_storeu_ps(to, v);
  }
}
#endif

template <class A>
void gather_columns(const A* planes, const int32_t* columns, int64_t count, const PixelCopy* copies, int64_t copy_count,
                    int64_t width, A* to) {
  constexpr int kStep = kLanes<A>;
  if (copy_count == 1 && copies->count == kStep) {
    for (int64_t c = 0; c < count; ++c, to += width) {
      store(to, load(planes + columns[c] + copies->from));
    }
    return;
  }
#if defined(__AVX512F__)
  if constexpr (sizeof(A) == sizeof(float)) {
    switch (copy_count) {
      case 1: return gather_masked<1>(planes, columns, count, copies, width, to);
      case 2: return gather_masked<2>(planes, columns, count, copies, width, to);
      case 3: return gather_masked<3>(planes, columns, count, copies, width, to);
      case 4: return gather_masked<4>(planes, columns, count, copies, width, to);
      default: break;
    }
  }
#endif
  int64_t from[kStep];
  int lanes = 0;
  for (int64_t q = 0; q < copy_count; ++q) {
    for (int64_t i = 0; i < copies[q].count; ++i) {
      from[lanes++] = copies[q].from + i;  // copies fill the lanes from the first on
    }
  }
  for (int64_t c = 0; c < count; ++c, to += width) {
    const A* const plane = planes + columns[c];
    store(to, Vector<A>{});
    for (int i = 0; i < lanes; ++i) {
      to[i] = plane[from[i]];
    }
  }
}

/// Stores to[i] = from[i] for i < count, less than a vector.
template <class T>
[[gnu::always_inline]] inline void copy_tail(const Accumulate<T>* from, int64_t count, bool relu, T* to) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == sizeof(float) && sizeof(Accumulate<T>) == sizeof(float)) {
    const auto mask = static_cast<__mmask16>((1u << count) - 1);
    Vector<float> v = _mm512_maskz_loadu_ps(mask, from);
    v = relu ? clamped<float>(v) : v;
    _mm512_mask_storeu_ps(to, mask, v);
    return;
  }
#endif
  for (int64_t i = 0; i < count; ++i) {
    to[i] = narrow<T>(relu && from[i] < 0 ? Accumulate<T>{0} : from[i]);
  }
}

template <class T, bool kRelu>
void copy_rows(const Accumulate<T>* tile, int64_t width, int64_t rows, const PixelCopy* copies, int64_t copy_count, T* output,
               int64_t stride) {
  using A = Accumulate<T>;
  constexpr int64_t kStep = kLanes<A>;
  const auto copy_vector = [](const A* from, T* to) __attribute__((always_inline)) {
    Vector<A> v = load(from);
    if constexpr (kRelu) {
      v = clamped<A>(v);
    }
    if constexpr (sizeof(T) == sizeof(A)) {
      store(to, v);
    } else {
      for (int64_t lane = 0; lane < kStep; ++lane) {
        to[lane] = narrow<T>(v[lane]);
      }
    }
  };
  for (int64_t r = 0; r < rows; ++r, tile += width, output += stride) {
    for (const PixelCopy* copy = copies; copy != copies + copy_count; ++copy) {
      const A* const from = tile + copy->from;
      T* const to = output + copy->to;
      int64_t i = 0;
      for (; i + kStep <= copy->count; i += kStep) {
        copy_vector(from + i, to + i);
      }
      if (i == copy->count) {
        continue;
      }
      const PixelCopy* const next = copy + 1;
      const bool follows = next != copies + copy_count && next->to == copy->to + copy->count &&
                           next->count >= i + kStep - copy->count && copy->from + i + kStep <= width;
      if (follows) {
        copy_vector(from + i, to + i);  // what overshoots is overwritten by the next copy
      } else {
        copy_tail<T>(from + i, copy->count - i, kRelu, to + i);
      }
    }
  }
}

template <class T>
void copy_out(const Accumulate<T>* tile, int64_t width, int64_t rows, const PixelCopy* copies, int64_t copy_count, bool relu,
              T* output, int64_t stride) {
  if (relu) {
    copy_rows<T, true>(tile, width, rows, copies, copy_count, output, stride);
  } else {
    copy_rows<T, false>(tile, width, rows, copies, copy_count, output, stride);
  }
}

template <class T>
constexpr RasterKernels<T> make_raster_table() {
  using A = Accumulate<T>;
  return {kLanes<A>, kLoopRows, kLoopVectors, fill_plane<T>, fill_pixels<T>, gather_columns<A>, copy_out<T>,
          multiply_block<A>};
}

}  // namespace
}  // namespace jouleprune::kernels::csr
