// What the CUDA adapters share.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <vector>

#include "element_type.h"
#include "epilogue.h"
#include "kernels/activation.h"

namespace jouleprune::ops {

inline cuda::ElementType cuda_element_type(at::ScalarType dtype) {
  switch (dtype) {
    case at::kDouble: return cuda::ElementType::kFloat64;
    case at::kBFloat16: return cuda::ElementType::kBFloat16;
    case at::kHalf: return cuda::ElementType::kFloat16;
    default: return cuda::ElementType::kFloat32;
  }
}

inline cuda::Activation cuda_activation(kernels::Activation activation) {
  switch (activation) {
    case kernels::Activation::kRelu: return cuda::Activation::kRelu;
    case kernels::Activation::kGelu: return cuda::Activation::kGelu;
    case kernels::Activation::kSilu: return cuda::Activation::kSilu;
    case kernels::Activation::kNone: break;
  }
  return cuda::Activation::kNone;
}

inline const void* pointer_or_null(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr() : nullptr;
}

/// At a multiple of 16 bytes, as the kernels' copies want it: a view into another tensor may lie elsewhere and is
/// copied.
inline at::Tensor aligned(const at::Tensor& tensor) {
  return reinterpret_cast<uintptr_t>(tensor.const_data_ptr()) % 16 == 0 ? tensor : tensor.clone();
}

/// Scratch of `elements` of the type of `like`; the allocator of a stream hands it to nobody else before the kernels
/// are done.
inline at::Tensor scratch_for(const at::Tensor& like, int64_t elements) {
  return at::empty({elements}, like.options());
}

/// A list made on the host, where `like` is.
inline at::Tensor on_device(const std::vector<int32_t>& numbers, const at::Tensor& like) {
  return at::tensor(numbers, at::TensorOptions().dtype(at::kInt)).to(like.device());
}

}  // namespace jouleprune::ops
