// The arithmetic of the warp's instructions, element by element from the tables of fragments.h.
#pragma once
#include <array>
#include <cstdint>

#include "simt/elements.h"
#include "simt/platform.h"

namespace jouleprune::simt::host {

template <class X>
using Lanes = std::array<X, kLanes>;

/// Result register m of lane L: elements (L / 4, 2 (L % 4) + {0, 1}) of matrix m, whose row r is chunk 8 m + r; with
/// rows and columns exchanged where transposed.
void spread_matrices(const Lanes<Chunk>& rows, bool transposed, Lanes<Fragment>& out);

Lanes<uint32_t> transposed_matrix(const Lanes<uint32_t>& in);

struct MmaIn {
  Sums d;
  Fragment a;
  uint32_t b[2];
};
/// Products are exact; they are summed in double and rounded to float32 once, in no order that a machine promises.
template <class T>
void multiply(const Lanes<MmaIn>& in, Lanes<Sums>& out);

struct SparseIn {
  Sums d;
  Fragment a, b;
  uint32_t metadata;
};
/// Returns false where a code is none that the instruction allows: two ascending places of four.
template <class T>
bool multiply_sparse(const Lanes<SparseIn>& in, int selector, Lanes<Sums>& out);

}  // namespace jouleprune::simt::host
