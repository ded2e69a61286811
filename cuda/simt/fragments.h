// Which element of a matrix each lane holds in the operands of the tensor-core instructions. PTX ISA, "Matrix Fragments
// for mma.m16n8k16 with floating point type" and "... for sparse mma.m16n8k32"; g = lane / 4, t = lane % 4.
#pragma once
#include "platform.h"

namespace jouleprune::simt {

struct Place {
  int row, column;
};

/// A of m16n8k16: element i (0..7) of a lane; (row, k). Two elements per register, the lower half first.
JP_ANYWHERE constexpr Place place_in_a(int lane, int i) {
  return {lane / 4 + 8 * ((i >> 1) & 1), 2 * (lane % 4) + (i & 1) + 8 * (i >> 2)};
}

/// B of m16n8k16 (i = 0..3) and of sparse m16n8k32 (i = 0..7); (k, column).
JP_ANYWHERE constexpr Place place_in_b(int lane, int i) { return {2 * (lane % 4) + (i & 1) + 8 * (i >> 1), lane / 4}; }

/// Sums of m16n8: element i (0..3); (row, column).
JP_ANYWHERE constexpr Place place_in_sums(int lane, int i) {
  return {lane / 4 + 8 * (i >> 1), 2 * (lane % 4) + (i & 1)};
}

/// Element i (0, 1) of a lane's register of an 8 x 8 matrix, as ldmatrix gives it.
JP_ANYWHERE constexpr Place place_in_matrix(int lane, int i) { return {lane / 4, 2 * (lane % 4) + i}; }

/// Metadata of sparse m16n8k32 with 16-bit elements: the bit at which the 4-bit code of logical columns 4 chunk..4
/// chunk + 3 (chunk 0..7) of `row` (0..15) stands, and the lane whose register holds it, for selector F = 0 or 1.
struct MetadataPlace {
  int lane, bit;
};
JP_ANYWHERE constexpr MetadataPlace place_of_metadata(int row, int chunk, int selector) {
  return {4 * (row % 8) + 2 * selector + chunk / 4, 16 * (row / 8) + 4 * (chunk % 4)};
}

}  // namespace jouleprune::simt
