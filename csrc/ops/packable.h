// What the ops that pack a dense weight check first.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

namespace jouleprune::ops {

struct Packable {
  at::Tensor matrix;  ///< [rows, cols], contiguous
  at::Tensor kept;    ///< bool [rows, cols], contiguous: the mask, or where the weight is not zero
};

/// `weight` [rows, ...], flattened; `mask` bool of its shape and device. Throws c10::TypeError, c10::ValueError.
Packable check_packable(const char* op, const at::Tensor& weight, const std::optional<at::Tensor>& mask);

}  // namespace jouleprune::ops
