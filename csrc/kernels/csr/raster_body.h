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

/// to[i] = from[i] for i < count. The last vector overlaps the one before; a row shorter than a vector is masked where possible.
template <class T>
[[gnu::always_inline]] inline void copy_row(const T* from, int64_t count, Accumulate<T>* to) {
  constexpr int64_t kStep = kLanes<Accumulate<T>>;
  if (count >= kStep) {
    for (int64_t i = 0; i + kStep <= count; i += kStep) {
      store(to + i, load_wide(from + i));
    }
    store(to + count - kStep, load_wide(from + count - kStep));
    return;
  }
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == sizeof(float)) {
    const auto mask = static_cast<__mmask16>((1u << count) - 1);
    _mm512_mask_storeu_ps(to, mask, _mm512_maskz_loadu_ps(mask, from));
    return;
  }
#endif
  for (int64_t i = 0; i < count; ++i) {
    to[i] = widen(from[i]);
  }
}

template <class T>
void fill_plane(const T* from, int64_t stride, const RowCopy* copies, int64_t copy_count, int64_t, Accumulate<T>* to, int64_t) {
  for (const RowCopy* copy = copies; copy != copies + copy_count; ++copy) {
    store_zeros(to + copy->to, copy->zeros);
    const T* const row = from + copy->from;
    Accumulate<T>* const out = to + copy->to + copy->zeros;
    if (stride == 1) {
      copy_row(row, copy->count, out);
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
void gather_masked(const float* planes, const int32_t* columns, int64_t count, const PixelCopy* copies, int64_t width, float* to) {
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
  for (int64_t r = 0; r < rows; ++r, tile += width, output += stride) {
    for (int64_t q = 0; q < copy_count; ++q) {
      const A* const from = tile + copies[q].from;
      T* const to = output + copies[q].to;
      const int64_t count = copies[q].count;
      int64_t i = 0;
      for (; i + kStep <= count; i += kStep) {
        Vector<A> v = load(from + i);
        if constexpr (kRelu) {
          v = clamped<A>(v);
        }
        if constexpr (sizeof(T) == sizeof(A)) {
          store(to + i, v);
        } else {
          for (int64_t lane = 0; lane < kStep; ++lane) {
            to[i + lane] = narrow<T>(v[lane]);
          }
        }
      }
      if (i < count) {
        copy_tail<T>(from + i, count - i, kRelu, to + i);
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

template <class A>
void clamp_tile(A* tile, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    tile[i] = tile[i] < 0 ? A{0} : tile[i];
  }
}

template <class T>
constexpr RasterKernels<T> make_raster_table() {
  using A = Accumulate<T>;
  return {kLanes<A>, kLoopRows, kLoopVectors, fill_plane<T>, fill_pixels<T>, gather_columns<A>, copy_out<T>,
          clamp_tile<A>, multiply_block<A>};
}

}  // namespace
}  // namespace jouleprune::kernels::csr
