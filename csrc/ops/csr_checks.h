// Argument checks that the csr ops share; every message names the op, the argument, what was expected and what came.
#pragma once
#include <ATen/core/DimVector.h>
#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <array>
#include <optional>
#include <string_view>

#include "formats/csr.h"
#include "kernels/activation.h"
#include "kernels/csr/csr_kernels.h"
#include "kernels/isa.h"
#include "ops/csr_structure.h"
#include "ops/packed_forms.h"

namespace jouleprune::ops {

/// The tensors of a checked weight, contiguous; the view borrows from them.
struct CsrWeight {
  at::Tensor values, col_indices, row_offsets;  // values is undefined where the op has none
  formats::CsrView csr;
  CheckedStructure structure;  // empty from check_weight_in_full

  /// Where kernels keep what they derive from this weight, which must outlive it; `values` must be there, and not empty `structure`.
  WeightForms forms() const { return {values, col_indices, row_offsets, structure}; }
};

/// Checks dtypes, shapes, devices and (through check_structure) the structure. `values`: null for ops that only use the structure.
/// `like`: the dense argument, named `like_name`, whose device (and dtype, for values) all share. `compare`: kWhole for ops that
/// read the indices themselves.
CsrWeight check_weight(const char* op, const at::Tensor* values, const at::Tensor& col_indices, const at::Tensor& row_offsets,
                       const at::Tensor& key, int64_t cols, const at::Tensor& like, const char* like_name,
                       Compare compare = Compare::kSample);

/// The same without a key, for ops that read the whole structure anyway; checks it on each call.
CsrWeight check_weight_in_full(const char* op, const at::Tensor& values, const at::Tensor& col_indices,
                               const at::Tensor& row_offsets, int64_t cols);

/// Defined, not sparse.
void check_strided(const char* op, const char* name, const at::Tensor& tensor);
void check_device(const char* op, const char* name, const at::Tensor& tensor, const at::Tensor& like, const char* like_name);
/// float32, float64, bfloat16 or float16, strided.
void check_element_type(const char* op, const char* name, const at::Tensor& tensor);

/// [rows], dtype and device of `like`. Returns it contiguous, undefined when absent.
at::Tensor check_bias(const char* op, const std::optional<at::Tensor>& bias, int64_t rows, const at::Tensor& like);

/// Sizes of `output` (which may be symbols), dtype and device of `like`. Returns it as it came, undefined when absent.
at::Tensor check_residual(const char* op, const std::optional<at::Tensor>& residual, const at::Tensor& output, const at::Tensor& like);

/// Present only as prepack_<layout>, `from`, makes it: int32 [0].
void check_prepacked(const char* op, const std::optional<at::Tensor>& prepacked, const char* from = "prepack_csr");

using kernels::Activation;
Activation parse_activation(const char* op, std::string_view name);
/// Applies it to a result without one, by torch: where gradients are recorded, and where no kernel has it fused.
at::Tensor activate(Activation activation, const at::Tensor& output);
/// activate(output + residual); an undefined residual adds nothing.
at::Tensor finish(Activation activation, const at::Tensor& output, const at::Tensor& residual);

/// Sizes of conv2d_csr with `rows` output channels, every number checked. `input_size` [4].
kernels::csr::ConvShape check_conv(const char* op, at::IntArrayRef input_size, int64_t rows, at::IntArrayRef kernel_size,
                                   at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation, int64_t groups);

/// A dense argument [..., size] as rows: [n, size] with neighbouring elements in a row, copied only if they are not.
at::Tensor as_rows(const char* op, const char* name, const at::Tensor& tensor, int64_t size);
/// The sizes of `tensor` with another last one.
at::DimVector resized_last(const at::Tensor& tensor, int64_t size);
/// `input` has the dtype and device of `grad_output`.
void check_alike(const char* op, const at::Tensor& grad_output, const at::Tensor& input);
/// As check_alike, and as many rows; the first two are what the user gave, for the message.
void check_same_rows(const char* op, const at::Tensor& grad_output, const at::Tensor& input, const at::Tensor& grad_rows,
                     const at::Tensor& input_rows);

/// Checks the input of conv2d_csr as far as the weight does not matter; returns the columns of the weight.
int64_t check_conv_input(const char* op, const at::Tensor& input, int64_t in_channels, at::IntArrayRef kernel_size, int64_t groups);
/// The same for its backward ops.
int64_t check_conv_grad(const char* op, const at::Tensor& grad_output, at::IntArrayRef input_size, at::IntArrayRef kernel_size,
                        int64_t groups);
/// The shape that the forward op gives.
void check_grad_output(const char* op, const at::Tensor& grad_output, const kernels::csr::ConvShape& shape);

/// What a forward op compares: reference kernels read the indices themselves, the others forms.
inline Compare forward_compare(kernels::Isa isa) {
  return isa == kernels::Isa::kReference ? Compare::kWhole : Compare::kSample;
}

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
