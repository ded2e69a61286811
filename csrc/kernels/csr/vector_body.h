// The inner loops of layout csr, written once over the vectors of vector.h and compiled once per instruction set: by
// vector_{portable,avx2,avx512}.cpp, each with its own compiler options. Internal linkage throughout, see vector.h.
#pragma once
#include "kernels/csr/vector.h"
#include "kernels/csr/vector_kernels.h"

namespace jouleprune::kernels::csr {
namespace {

template <class T>
void pack(const T* x, int64_t stride, int64_t n, int64_t cols, int64_t width, Accumulate<T>* panel) {
  using A = Accumulate<T>;
  constexpr int kSide = kLanes<A>;
  for (int64_t j = 0; j < width; j += kSide) {
    const bool full = j + kSide <= n;
    int64_t c = 0;
    for (; full && c + kSide <= cols; c += kSide) {
      Vector<A> block[kSide];
      for (int i = 0; i < kSide; ++i) {
        block[i] = load_wide(x + (j + i) * stride + c);
      }
      transpose<A>(block);
      for (int i = 0; i < kSide; ++i) {
        store(panel + (c + i) * width + j, block[i]);
      }
    }
    for (; c < cols; ++c) {
      for (int i = 0; i < kSide; ++i) {
        panel[c * width + j + i] = j + i < n ? widen(x[(j + i) * stride + c]) : A{0};
      }
    }
  }
}

template <class T>
void unpack(const Accumulate<T>* tile, int64_t rows, int64_t width, int64_t n, T* y, int64_t stride) {
  using A = Accumulate<T>;
  constexpr int kSide = kLanes<A>;
  for (int64_t i = 0; i < rows; i += kSide) {
    int64_t j = 0;
    for (; i + kSide <= rows && j + kSide <= n; j += kSide) {
      Vector<A> block[kSide];
      for (int s = 0; s < kSide; ++s) {
        block[s] = load(tile + (i + s) * width + j);
      }
      transpose<A>(block);
      for (int s = 0; s < kSide; ++s) {
        T* to = y + (j + s) * stride + i;
        if constexpr (sizeof(T) == sizeof(A)) {
          store(to, block[s]);
        } else {
          for (int q = 0; q < kSide; ++q) {
            to[q] = narrow<T>(block[s][q]);
          }
        }
      }
    }
    for (; j < n; ++j) {
      for (int64_t s = i; s < rows && s < i + kSide; ++s) {
        y[j * stride + s] = narrow<T>(tile[s * width + j]);
      }
    }
  }
}

/// One row at a time with its sums in registers; kVectors independent sums hide the latency of the multiply-add.
template <class T, int kVectors>
void multiply_rows(const Weight<T>& weight, int64_t begin, int64_t end, const Accumulate<T>* panel, Accumulate<T>* tile) {
  using A = Accumulate<T>;
  constexpr int64_t kWidth = kVectors * kLanes<A>;
  for (int64_t r = begin; r < end; ++r, tile += kWidth) {
    const A start = weight.bias == nullptr ? A{0} : widen(weight.bias[r]);
    Vector<A> sums[kVectors];
    for (int q = 0; q < kVectors; ++q) {
      sums[q] = splat<A>(start);
    }
    const int64_t last = weight.row_offsets[r + 1];
    for (int64_t k = weight.row_offsets[r]; k < last; ++k) {
      const A* x = panel + weight.col_indices[k] * kWidth;
      const Vector<A> w = splat<A>(widen(weight.values[k]));
      for (int q = 0; q < kVectors; ++q) {
        sums[q] += w * load(x + q * kLanes<A>);
      }
    }
    for (int q = 0; q < kVectors; ++q) {
      if (weight.relu) {
        sums[q] = sums[q] < Vector<A>{} ? Vector<A>{} : sums[q];
      }
      store(tile + q * kLanes<A>, sums[q]);
    }
  }
}

template <class T>
void multiply(const Weight<T>& weight, int64_t begin, int64_t end, const Accumulate<T>* panel, int64_t width,
              Accumulate<T>* tile) {
  switch (width / kLanes<Accumulate<T>>) {
    case 1: return multiply_rows<T, 1>(weight, begin, end, panel, tile);
    case 2: return multiply_rows<T, 2>(weight, begin, end, panel, tile);
    case 3: return multiply_rows<T, 3>(weight, begin, end, panel, tile);
    default: return multiply_rows<T, 4>(weight, begin, end, panel, tile);
  }
}

template <class T>
void dot_rows(const Weight<T>& weight, int64_t begin, int64_t end, const Accumulate<T>* x, T* y) {
  using A = Accumulate<T>;
  constexpr int kStep = kLanes<A>;
  for (int64_t r = begin; r < end; ++r) {
    A total = weight.bias == nullptr ? A{0} : widen(weight.bias[r]);
    int64_t k = weight.row_offsets[r];
    const int64_t last = weight.row_offsets[r + 1];
    if (k + kStep <= last) {
      Vector<A> even{}, odd{};
      for (; k + 2 * kStep <= last; k += 2 * kStep) {
        even += load_wide(weight.values + k) * gather(x, weight.col_indices + k);
        odd += load_wide(weight.values + k + kStep) * gather(x, weight.col_indices + k + kStep);
      }
      if (k + kStep <= last) {
        even += load_wide(weight.values + k) * gather(x, weight.col_indices + k);
        k += kStep;
      }
      total += sum<A>(even + odd);
    }
    for (; k < last; ++k) {
      total += widen(weight.values[k]) * x[weight.col_indices[k]];
    }
    y[r] = narrow<T>(weight.relu && total < A{0} ? A{0} : total);
  }
}

template <class A>
A dot(const A* a, const A* b, int64_t length) {
  constexpr int kStep = kLanes<A>;
  Vector<A> sums[4] = {};
  int64_t i = 0;
  for (; i + 4 * kStep <= length; i += 4 * kStep) {
    for (int q = 0; q < 4; ++q) {
      sums[q] += load(a + i + q * kStep) * load(b + i + q * kStep);
    }
  }
  for (; i < length; i += kStep) {
    sums[0] += load(a + i) * load(b + i);
  }
  return sum<A>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

template <class T>
constexpr VectorKernels<T> make_table() {
  return {kLanes<Accumulate<T>>, pack<T>, multiply<T>, unpack<T>, dot_rows<T>, dot<Accumulate<T>>};
}

}  // namespace
}  // namespace jouleprune::kernels::csr
