// C++ signatures of the op schemas in library.cpp, and a handle to an op by name.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/SymInt.h>
#include <c10/core/SymIntArrayRef.h>

#include <optional>
#include <string_view>
#include <tuple>
#include <vector>

namespace jouleprune::ops {

using Tensor = at::Tensor;
using OptionalTensor = std::optional<at::Tensor>;

using PackCsr = std::tuple<Tensor, Tensor, Tensor, Tensor>(const Tensor& weight, const OptionalTensor& mask);
using UnpackCsr = Tensor(const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets, c10::SymInt cols);
using LinearCsr = Tensor(const Tensor& input, const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets,
                         const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias,
                         c10::SymInt in_features, std::string_view activation, const OptionalTensor& residual);
using LinearCsrBackward = Tensor(const Tensor& grad_output, const Tensor& values_or_input, const Tensor& col_indices,
                                 const Tensor& row_offsets, const Tensor& key, c10::SymInt in_features);
using Conv2dCsr = Tensor(const Tensor& input, const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets,
                         const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias,
                         c10::SymInt in_channels, at::IntArrayRef kernel_size, at::IntArrayRef stride, at::IntArrayRef padding,
                         at::IntArrayRef dilation, int64_t groups, std::string_view activation,
                         const OptionalTensor& residual);
using Conv2dCsrBackwardInput = Tensor(const Tensor& grad_output, const Tensor& values, const Tensor& col_indices,
                                      const Tensor& row_offsets, const Tensor& key, c10::SymIntArrayRef input_size,
                                      at::IntArrayRef kernel_size, at::IntArrayRef stride, at::IntArrayRef padding,
                                      at::IntArrayRef dilation, int64_t groups);
using Conv2dCsrBackwardValues = Tensor(const Tensor& grad_output, const Tensor& input, const Tensor& col_indices,
                                       const Tensor& row_offsets, const Tensor& key, at::IntArrayRef kernel_size,
                                       at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation,
                                       int64_t groups);
using PackBsr = std::tuple<Tensor, Tensor, Tensor, Tensor>(const Tensor& weight, const OptionalTensor& mask,
                                                           at::IntArrayRef block_size);
using UnpackBsr = Tensor(const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets, c10::SymInt rows,
                         c10::SymInt cols);
using LinearBsr = Tensor(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                         const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias,
                         c10::SymInt out_features, c10::SymInt in_features, std::string_view activation);
using LinearBsrBackwardInput = Tensor(const Tensor& grad_output, const Tensor& blocks, const Tensor& block_columns,
                                      const Tensor& block_row_offsets, const Tensor& key, c10::SymInt out_features,
                                      c10::SymInt in_features);
using LinearBsrBackwardValues = Tensor(const Tensor& grad_output, const Tensor& input, const Tensor& block_columns,
                                       const Tensor& block_row_offsets, const Tensor& key, c10::SymIntArrayRef block_size,
                                       c10::SymInt out_features, c10::SymInt in_features);
using Conv2dBsr = Tensor(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                         const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias,
                         c10::SymInt out_channels, c10::SymInt in_channels, at::IntArrayRef kernel_size, at::IntArrayRef stride,
                         at::IntArrayRef padding, at::IntArrayRef dilation, int64_t groups, std::string_view activation,
                         const OptionalTensor& residual);
using Conv2dBsrBackwardInput = Tensor(const Tensor& grad_output, const Tensor& blocks, const Tensor& block_columns,
                                      const Tensor& block_row_offsets, const Tensor& key, c10::SymIntArrayRef input_size,
                                      at::IntArrayRef kernel_size, at::IntArrayRef stride, at::IntArrayRef padding,
                                      at::IntArrayRef dilation, int64_t groups);
using Conv2dBsrBackwardValues = Tensor(const Tensor& grad_output, const Tensor& input, const Tensor& block_columns,
                                       const Tensor& block_row_offsets, const Tensor& key, c10::SymIntArrayRef block_size,
                                       at::IntArrayRef kernel_size, at::IntArrayRef stride, at::IntArrayRef padding,
                                       at::IntArrayRef dilation, int64_t groups);
using PackMask = Tensor(const Tensor& mask);
using UnpackMask = Tensor(const Tensor& bits, c10::SymIntArrayRef size);
using ApplyMask = void(const Tensor& self, const Tensor& bits);
using Importance = Tensor(const Tensor& weight, const OptionalTensor& grad, std::string_view criterion);

using MaskSmallest = std::vector<Tensor>(at::TensorList scores, at::TensorList left, int64_t amount);
using MaskNOfM = Tensor(const Tensor& scores, const OptionalTensor& left, int64_t n, int64_t m, int64_t dim);
using UnitNorms = std::tuple<Tensor, Tensor>(const Tensor& scores, const OptionalTensor& left, at::IntArrayRef block_size,
                                             double norm);
using SpreadUnits = Tensor(const Tensor& units, const OptionalTensor& left, c10::SymIntArrayRef size,
                           at::IntArrayRef block_size);

/// `name`: "jouleprune::<op>". Look it up once and keep it in a function-local static.
template <class Signature>
c10::TypedOperatorHandle<Signature> find_op(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

}  // namespace jouleprune::ops
