// The inner loops of layout csr, written once over the vectors of vector.h and compiled once per instruction set: by
// vector_{portable,avx2,avx512}.cpp, each with its own compiler options. Internal linkage throughout, see vector.h.
#pragma once
#include "kernels/csr/vector_activate.h"
#include "kernels/csr/vector_dots.h"
#include "kernels/csr/vector_kernels.h"
#include "kernels/csr/vector_pack.h"
#include "kernels/csr/vector_panels.h"
#include "kernels/csr/vector_residual.h"

namespace jouleprune::kernels::csr {
namespace {

/// One row at a time with its sums in registers; kVectors independent sums hide the latency of the multiply-add.
template <class T, int kVectors>
void multiply_rows(const Weight<T>& weight, int64_t begin, int64_t end, const Accumulate<T>* panel, Accumulate<T>* tile) {
  using A = Accumulate<T>;
  constexpr int64_t kWidth = kVectors * kLanes<A>;
  A* const first = tile;
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
      store(tile + q * kLanes<A>, sums[q]);
    }
  }
  activate(weight.activation, first, tile - first);
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

#if defined(__AVX512F__)
constexpr int kPanelVectors = 4;  // with four rows 16 sums, four activations and a weight: wider ones would spill
#else
constexpr int kPanelVectors = 8;  // one row, eight sums
#endif

template <class T>
constexpr VectorKernels<T> make_table() {
  using A = Accumulate<T>;
  return {kLanes<A>,        kPanelVectors, pack<T>,     unpack<T>,      prepare_unpack<T>,
          multiply_unit<A>, activate<A>,   add_residual<T>, multiply<T>, sampled_dots<A>};
}

}  // namespace
}  // namespace jouleprune::kernels::csr
