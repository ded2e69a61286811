// The ops of layout nm as C++ functions, beside those of ops.h. Packing is on the CPU.
//
// Layout nm of a weight [rows, cols]: of each m neighbouring inputs of a row n are kept; 1 <= n < m <= 32. A last group that is narrower
// keeps min(n, its width). Each row has kept = cols / m x n + min(n, cols % m) entries:
//   values   [rows, kept]  float32, float64, bfloat16 or float16; groups ascending
//   indices  [rows, kept]  uint8: the place within the group, ascending in a group
//   key      [2]           int64: 128-bit key of the structure, from pack_nm
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/SymInt.h>

#include <optional>
#include <string_view>
#include <tuple>

namespace jouleprune {

/// values, indices, key of `weight` [rows, ...], flattened to [rows, cols]. Kept by the rules of pack_csr, and where that is fewer than n
/// the first others of a group: they may be trained. Not differentiable. Throws c10::ValueError where more than n would be kept.
std::tuple<at::Tensor, at::Tensor, at::Tensor> pack_nm(const at::Tensor& weight, const std::optional<at::Tensor>& mask, int64_t n,
                                                       int64_t m);

/// The dense weight [rows, cols]. Differentiable in values.
at::Tensor unpack_nm(const at::Tensor& values, const at::Tensor& indices, c10::SymInt cols, int64_t n, int64_t m);

/// As linear_csr; differentiable once in input, values and bias.
at::Tensor linear_nm(const at::Tensor& input, const at::Tensor& values, const at::Tensor& indices, const at::Tensor& key,
                     const std::optional<at::Tensor>& prepacked, const std::optional<at::Tensor>& bias, c10::SymInt in_features,
                     int64_t n, int64_t m, std::string_view activation = "none");

/// grad_output [..., rows] -> gradient of the input [..., in_features].
at::Tensor linear_nm_backward_input(const at::Tensor& grad_output, const at::Tensor& values, const at::Tensor& indices,
                                    const at::Tensor& key, c10::SymInt in_features, int64_t n, int64_t m);

/// grad_output [..., rows], input [..., in_features] -> gradient of the values [rows, kept].
at::Tensor linear_nm_backward_values(const at::Tensor& grad_output, const at::Tensor& input, const at::Tensor& indices,
                                     const at::Tensor& key, c10::SymInt in_features, int64_t n, int64_t m);

}  // namespace jouleprune
