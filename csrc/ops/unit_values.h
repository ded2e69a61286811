// One number per unit of r x c entries of a weight [rows, ...], and what it is for each entry.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/ops/repeat_interleave.h>
#include <c10/util/Exception.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <array>

namespace jouleprune::ops {

/// The weight [rows, ...] flattened to [rows, cols].
inline at::Tensor matrix_of(const at::Tensor& weight) {
  return weight.reshape({weight.size(0), c10::multiply_integers(weight.sizes().slice(1))});
}

/// A block no larger than the weight: beyond it a larger one is the same. Throws ValueError for sizes below 1.
inline std::array<int64_t, 2> checked_block(const char* op, const at::Tensor& weight, at::IntArrayRef block_size) {
  TORCH_CHECK_VALUE(block_size.size() == 2 && block_size[0] >= 1 && block_size[1] >= 1, op,
                    ": block_size: expected two sizes of at least 1, got ", block_size);
  const at::Tensor matrix = matrix_of(weight);
  return {std::min(block_size[0], std::max<int64_t>(matrix.size(0), 1)),
          std::min(block_size[1], std::max<int64_t>(matrix.size(1), 1))};
}

/// (down, across): units of the weight.
inline std::array<int64_t, 2> units_of(const at::Tensor& weight, const std::array<int64_t, 2>& block) {
  const at::Tensor matrix = matrix_of(weight);
  return {(matrix.size(0) + block[0] - 1) / block[0], (matrix.size(1) + block[1] - 1) / block[1]};
}

/// `units` [down, across] -> the value of its unit for each entry of `weight`.
inline at::Tensor spread_values(const at::Tensor& units, const at::Tensor& weight, const std::array<int64_t, 2>& block) {
  const at::Tensor matrix = matrix_of(weight);
  return units.repeat_interleave(block[0], 0)
      .slice(0, 0, matrix.size(0))
      .repeat_interleave(block[1], 1)
      .slice(1, 0, matrix.size(1))
      .reshape(weight.sizes());
}

}  // namespace jouleprune::ops
