// Argument checks that the csr ops share; every message names the op, the argument, what was expected and what came.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <optional>
#include <string_view>

#include "formats/csr.h"
#include "kernels/csr/csr_kernels.h"
#include "kernels/isa.h"

namespace jouleprune::ops {

/// The tensors of a checked weight, contiguous; the view borrows from them.
struct CsrWeight {
  at::Tensor values, col_indices, row_offsets;  // values is undefined where the op has none
  formats::CsrView csr;
};

/// Checks dtypes, shapes, devices and (through check_structure) the structure. `values`: null for ops that only use the structure.
/// `like`: the dense argument, named `like_name`, whose device (and dtype, for values) all share.
CsrWeight check_weight(const char* op, const at::Tensor* values, const at::Tensor& col_indices, const at::Tensor& row_offsets,
                       const at::Tensor& key, int64_t cols, const at::Tensor& like, const char* like_name);

/// The same without a key, for ops that read the whole structure anyway; checks it on each call.
CsrWeight check_weight_in_full(const char* op, const at::Tensor& values, const at::Tensor& col_indices,
                               const at::Tensor& row_offsets, int64_t cols);

/// float32, float64, bfloat16 or float16, strided.
void check_element_type(const char* op, const char* name, const at::Tensor& tensor);

/// [rows], dtype and device of `like`. Returns it contiguous, undefined when absent.
at::Tensor check_bias(const char* op, const std::optional<at::Tensor>& bias, int64_t rows, const at::Tensor& like);

/// Present only as prepack_csr makes it: int32 [0].
void check_prepacked(const char* op, const std::optional<at::Tensor>& prepacked);

/// What comes after the product. Relu is fused into the kernel, the others are torch's.
enum class Activation { kNone, kRelu, kGelu, kSilu };
Activation parse_activation(const char* op, std::string_view name);
/// Applies it to a result without one; `output` may be overwritten.
at::Tensor activate(Activation activation, const at::Tensor& output);

/// Sizes of conv2d_csr, with every number checked. `input_size` [4]; `rows`, `cols` of the weight, or -1 where not yet known.
kernels::csr::ConvShape check_conv(const char* op, at::IntArrayRef input_size, int64_t rows, at::IntArrayRef kernel_size,
                                   at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation, int64_t groups);

/// JOULEPRUNE_ISA or the best; a bad value of the variable is a c10::ValueError.
kernels::Isa active_isa();

template <class T>
const T* data_of(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<const T*>(tensor.const_data_ptr()) : nullptr;
}
template <class T>
T* mutable_data_of(const at::Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

/// Calls body(T{}) with the kernels' type of the dtype.
template <class Body>
void with_element_type(at::ScalarType dtype, const Body& body) {
  switch (dtype) {
    case at::kFloat: return body(float{});
    case at::kDouble: return body(double{});
    case at::kBFloat16: return body(kernels::BFloat16{});
    case at::kHalf: return body(kernels::Half{});
    default: TORCH_INTERNAL_ASSERT(false, "unchecked dtype ", dtype);
  }
}

}  // namespace jouleprune::ops
