// Argument checks of the mask ops, and what their kernels for different devices share.
#pragma once
#include <ATen/core/Tensor.h>

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

}  // namespace jouleprune::ops
