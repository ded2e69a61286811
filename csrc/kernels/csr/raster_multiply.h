// Kept weights without generated code: a few rows times a few vectors of sums in registers, columns sorted by which rows keep
// them.
// Internal linkage throughout, see vector.h.
#pragma once
#include "kernels/csr/raster_kernels.h"
#include "kernels/csr/vector.h"

namespace jouleprune::kernels::csr {
namespace {

// 32 registers hold 4 rows x 4 vectors of sums beside the inputs. With 16, patterns run out of registers: a row of 8 vectors is
// faster.
#if defined(__AVX512F__)
constexpr int kLoopRows = 4, kLoopVectors = 4;
#else
constexpr int kLoopRows = 1, kLoopVectors = 8;
#endif

template <class A, int kVectors>
struct LoopSums {
  Vector<A> row[kLoopRows][kVectors];
};

/// All columns of one pattern, then those of the next.
template <class A, int kVectors, int kPattern>
[[gnu::always_inline]] inline void multiply_patterns(const int32_t* counts, const int32_t* columns, const A* values, const A* x,
                                                     LoopSums<A, kVectors>& sums) {
  if constexpr (kPattern < (1 << kLoopRows)) {
    for (int32_t left = counts[kPattern - 1]; left > 0; --left) {
      const A* const from = x + *columns++;
      Vector<A> inputs[kVectors];
#pragma GCC unroll 8
      for (int q = 0; q < kVectors; ++q) {
        inputs[q] = load(from + q * kLanes<A>);
      }
#pragma GCC unroll 4
      for (int r = 0; r < kLoopRows; ++r) {
        if (kPattern >> r & 1) {
          const Vector<A> w = splat<A>(*values++);
#pragma GCC unroll 8
          for (int q = 0; q < kVectors; ++q) {
            sums.row[r][q] += w * inputs[q];
          }
        }
      }
    }
    multiply_patterns<A, kVectors, kPattern + 1>(counts, columns, values, x, sums);
  }
}

template <class A, int kVectors>
void multiply_vectors(const LoopBlock<A>& block, const A* x, A* tile, int64_t width) {
  LoopSums<A, kVectors> sums;
#pragma GCC unroll 4
  for (int r = 0; r < kLoopRows; ++r) {
#pragma GCC unroll 8
    for (int q = 0; q < kVectors; ++q) {
      sums.row[r][q] = r >= block.rows          ? Vector<A>{}
                       : block.start != nullptr ? splat<A>(block.start[r])
                                                : load(tile + r * width + q * kLanes<A>);
    }
  }
  multiply_patterns<A, kVectors, 1>(block.counts, block.columns, block.values, x, sums);
#pragma GCC unroll 4
  for (int r = 0; r < kLoopRows; ++r) {
    if (r < block.rows) {
#pragma GCC unroll 8
      for (int q = 0; q < kVectors; ++q) {
        store(tile + r * width + q * kLanes<A>, sums.row[r][q]);
      }
    }
  }
}

template <class A>
void multiply_block(const LoopBlock<A>& block, const A* x, int64_t vectors, A* tile, int64_t width) {
  constexpr int64_t kStep = kLanes<A>;
  int64_t v = 0;
  if constexpr (kLoopVectors == 8) {
    for (; v + 8 <= vectors; v += 8) {
      multiply_vectors<A, 8>(block, x + v * kStep, tile + v * kStep, width);
    }
  }
  for (; v + 4 <= vectors; v += 4) {
    multiply_vectors<A, 4>(block, x + v * kStep, tile + v * kStep, width);
  }
  switch (vectors - v) {
    case 3: return multiply_vectors<A, 3>(block, x + v * kStep, tile + v * kStep, width);
    case 2: return multiply_vectors<A, 2>(block, x + v * kStep, tile + v * kStep, width);
    case 1: return multiply_vectors<A, 1>(block, x + v * kStep, tile + v * kStep, width);
    default: return;
  }
}

}  // namespace
}  // namespace jouleprune::kernels::csr
