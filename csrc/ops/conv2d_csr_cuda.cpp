// conv2d_csr and its backward ops on CUDA: by the kernels of cuda/conv where that is predicted to win, else by torch's convolution of the
// unpacked weight.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "ops/compressed_product.h"
#include "ops/conv_cuda.h"
#include "ops/csr_checks.h"
#include "ops/csr_dense.h"
#include "ops/cuda_adapters.h"
#include "ops/cuda_backend.h"
#include "ops/device_csr.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

namespace conv = cuda::conv;
using Sizes = at::IntArrayRef;
using Shape = kernels::csr::ConvShape;

bool runs_sparse(const Shape& s, int64_t nnz, at::ScalarType dtype, const CudaScope& scope) {
  return conv::fits(launch_shape(s)) && convolves_sparse(conv_work(s, nnz, dtype), scope.machine());
}

/// Contiguous, with the convolution's zeros around it.
Tensor padded(const Tensor& input, const Shape& s) {
  const bool none = s.padding_h == 0 && s.padding_w == 0;
  const Tensor plain = input.contiguous();
  return none ? plain : at::constant_pad_nd(plain, {s.padding_w, s.padding_w, s.padding_h, s.padding_h}, 0);
}

/// The dense weight as a convolution's.
Tensor dense_weight(const CsrWeight& weight, const Shape& s, const CudaScope& scope) {
  const auto dense = *form_of_values<Tensor>("csr dense", weight, false, scope, [&] { return dense_of(weight); });
  return dense.view({s.out_channels, s.in_channels / s.groups, s.kernel_h, s.kernel_w});
}

Tensor conv2d_csr_cuda(const Tensor& input, const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets,
                       const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias, int64_t in_channels,
                       Sizes kernel_size, Sizes stride, Sizes padding, Sizes dilation, int64_t groups, std::string_view activation,
                       const OptionalTensor& residual) {
  constexpr const char* op = "conv2d_csr";
  const auto act = parse_activation(op, activation);
  const auto cols = check_conv_input(op, input, in_channels, kernel_size, groups);
  const CudaScope scope(input);
  const auto weight = check_weight(op, &values, col_indices, row_offsets, key, cols, input, "input");
  const Shape shape = check_conv(op, input.sizes(), weight.csr.rows, kernel_size, stride, padding, dilation, groups);
  check_prepacked(op, prepacked);
  const auto checked_bias = check_bias(op, bias, weight.csr.rows, input);
  if (!runs_sparse(shape, weight.csr.nnz, input.scalar_type(), scope)) {
    const auto product = dense_conv(input, dense_weight(weight, shape, scope), checked_bias, {kernel_size, stride, padding, dilation, groups});
    return finish(act, product, check_residual(op, residual, product, input));
  }
  auto output = at::empty({shape.batch, shape.out_channels, shape.out_height(), shape.out_width()}, input.options());
  const auto added = check_residual(op, residual, output, input);
  const auto added_plain = added.defined() ? added.contiguous() : added;
  const auto matrix = device_conv_matrix(weight, groups, false);
  const auto raster = padded(input, shape);
  scope.run(conv::Conv{cuda_element_type(input.scalar_type()), weight.csr.nnz,
                       {matrix->view(weight.values), launch_shape(shape), raster.const_data_ptr(), output.mutable_data_ptr(),
                        {pointer_or_null(checked_bias), pointer_or_null(added_plain), cuda_activation(act)}}});
  return output;
}

Tensor conv2d_csr_backward_input_cuda(const Tensor& grad_output, const Tensor& values, const Tensor& col_indices,
                                      const Tensor& row_offsets, const Tensor& key, Sizes input_size, Sizes kernel_size,
                                      Sizes stride, Sizes padding, Sizes dilation, int64_t groups) {
  constexpr const char* op = "conv2d_csr_backward_input";
  const auto cols = check_conv_grad(op, grad_output, input_size, kernel_size, groups);
  const CudaScope scope(grad_output);
  const FreshValues fresh;
  const auto weight = check_weight(op, &values, col_indices, row_offsets, key, cols, grad_output, "grad_output");
  const Shape shape = check_conv(op, input_size, weight.csr.rows, kernel_size, stride, padding, dilation, groups);
  check_grad_output(op, grad_output, shape);
  if (!runs_sparse(shape, weight.csr.nnz, grad_output.scalar_type(), scope)) {
    return dense_conv_grad_input(grad_output, input_size, dense_weight(weight, shape, scope),
                                 {kernel_size, stride, padding, dilation, groups});
  }
  auto grad_input = at::empty(input_size, grad_output.options());
  const auto matrix = device_conv_matrix(weight, groups, true);
  const auto grads = grad_output.contiguous();
  scope.run(conv::ConvGradInput{cuda_element_type(grad_output.scalar_type()), weight.csr.nnz,
                                {matrix->view(weight.values), launch_shape(shape), grads.const_data_ptr(),
                                 grad_input.mutable_data_ptr()}});
  return grad_input;
}

Tensor conv2d_csr_backward_values_cuda(const Tensor& grad_output, const Tensor& input, const Tensor& col_indices,
                                       const Tensor& row_offsets, const Tensor& key, Sizes kernel_size, Sizes stride, Sizes padding,
                                       Sizes dilation, int64_t groups) {
  constexpr const char* op = "conv2d_csr_backward_values";
  const auto cols = check_conv_grad(op, grad_output, input.sizes(), kernel_size, groups);
  check_alike(op, grad_output, input);
  const CudaScope scope(grad_output);
  const auto weight = check_weight(op, nullptr, col_indices, row_offsets, key, cols, grad_output, "grad_output");
  const Shape shape = check_conv(op, input.sizes(), weight.csr.rows, kernel_size, stride, padding, dilation, groups);
  check_grad_output(op, grad_output, shape);
  if (!runs_sparse(shape, weight.csr.nnz, grad_output.scalar_type(), scope)) {
    const int64_t sizes[] = {shape.out_channels, shape.in_channels / groups, shape.kernel_h, shape.kernel_w};
    const auto grad_weight =
        dense_conv_grad_weight(grad_output, input, sizes, {kernel_size, stride, padding, dilation, groups});
    return grad_weight.reshape({weight.csr.rows * cols}).index_select(0, places_of(weight));
  }
  auto grad_values = at::empty({weight.csr.nnz}, grad_output.options());
  const auto matrix = device_conv_matrix(weight, groups, false);
  const auto entry_rows = device_entry_rows(weight);
  const auto grads = grad_output.contiguous(), raster = padded(input, shape);
  scope.run(conv::ConvGradValues{cuda_element_type(grad_output.scalar_type()),
                                 {launch_shape(shape), entry_rows.const_data_ptr<int32_t>(), matrix->columns.const_data_ptr<int32_t>(),
                                  weight.csr.nnz, grads.const_data_ptr(), raster.const_data_ptr(), grad_values.mutable_data_ptr()}});
  return grad_values;
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, JOULEPRUNE_CUDA_KEY, m) {
  m.impl("conv2d_csr", TORCH_FN(jouleprune::ops::conv2d_csr_cuda));
  m.impl("conv2d_csr_backward_input", TORCH_FN(jouleprune::ops::conv2d_csr_backward_input_cuda));
  m.impl("conv2d_csr_backward_values", TORCH_FN(jouleprune::ops::conv2d_csr_backward_values_cuda));
}
