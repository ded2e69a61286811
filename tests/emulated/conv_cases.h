// Convolutions for the tests of the ops over emulated kernels.
#pragma once
#include <ATen/core/ScalarType.h>

#include <cstdint>
#include <vector>

namespace jouleprune::emulated {

struct Conv {
  std::vector<int64_t> input;  // [n, in, h, w]
  int64_t out;
  std::vector<int64_t> kernel, stride, padding, dilation;
  int64_t groups = 1;
  double density = 0.3;
};

/// Odd ones first: strides that leave rows unread, kernels that are not square, groups, depthwise, one pixel, nothing at all.
inline std::vector<Conv> convolutions() {
  return {{{2, 3, 7, 9}, 5, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
          {{1, 4, 11, 8}, 6, {3, 2}, {2, 3}, {1, 0}, {2, 1}, 2},
          {{2, 6, 5, 5}, 6, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 6, 0.7},
          {{1, 2, 13, 14}, 3, {5, 5}, {2, 2}, {3, 4}, {1, 1}},
          {{1, 70, 3, 3}, 33, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
          {{1, 1, 1, 1}, 1, {1, 1}, {1, 1}, {0, 0}, {1, 1}, 1, 1.0},
          {{1, 2, 16, 17}, 2, {3, 3}, {1, 1}, {0, 0}, {3, 2}, 1, 1.0},
          {{2, 3, 4, 4}, 4, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1, 0.0},
          {{0, 3, 4, 4}, 4, {3, 3}, {1, 1}, {1, 1}, {1, 1}}};
}

/// What rounding explains of results of about one.
inline double rounding(at::ScalarType dtype) {
  return dtype == at::kDouble ? 1e-12 : dtype == at::kFloat ? 2e-5 : dtype == at::kHalf ? 2e-2 : 1.6e-1;
}

}  // namespace jouleprune::emulated
