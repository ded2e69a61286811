// Argument checks of the mask ops, and what their kernels for different devices share.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

namespace jouleprune::ops {

/// Strided bool.
void check_mask(const char* op, const at::Tensor& mask);
/// uint8 [ceil(count / 8)].
void check_bits(const char* op, const at::Tensor& bits, int64_t count);
/// Product of sizes; refuses negative ones and products beyond int64.
int64_t checked_numel(const char* op, at::IntArrayRef size);
/// What apply_mask_ takes.
void check_maskable(const at::Tensor& self, const at::Tensor& bits);

/// apply_mask_ by torch's masked_fill_: any strides, any device.
void apply_mask_by_fill(const at::Tensor& self, const at::Tensor& bits);

/// Checks the tensors of mask_smallest; returns the type in which they are compared: float16, bfloat16, float32, float64 or int64.
at::ScalarType check_smallest(at::TensorList scores, at::TensorList left);
/// mask_smallest on the host, wherever the tensors are.
std::vector<at::Tensor> mask_smallest_by_host(at::TensorList scores, at::TensorList left, int64_t amount);
/// mask_n_of_m on the host, wherever the tensors are.
at::Tensor mask_n_of_m_by_host(const at::Tensor& scores, const std::optional<at::Tensor>& left, int64_t n, int64_t m, int64_t dim);

}  // namespace jouleprune::ops
