// conv2d_bsr and its backward ops on CUDA: by the kernels of cuda/conv on shifted planes where that is predicted to win, else by torch's
// convolution of the unpacked weight.
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <string_view>

#include "ops/asked_kernel.h"
#include "ops/compressed_product.h"
#include "ops/conv2d_bsr_checks.h"
#include "ops/conv_cuda.h"
#include "ops/cuda_adapters.h"
#include "ops/cuda_backend.h"
#include "ops/device_index.h"
#include "ops/device_windows.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

namespace conv = cuda::conv;
using Sizes = at::IntArrayRef;

conv::BsrShape bsr_shape(const ConvBsr& c) { return {launch_shape(c.shape), static_cast<int32_t>(c.shape.groups)}; }

/// JOULEPRUNE_CUDA_BSR=sparse or =dense, else by prediction (cuSPARSE has no convolutions); what no kernel takes runs dense.
bool runs_sparse(const ConvBsr& c, const conv::View& view, at::ScalarType dtype, const CudaScope& scope) {
  const auto& bsr = c.weight.bsr;
  const auto asked = asked_kernel("JOULEPRUNE_CUDA_BSR", {"sparse", "dense", "cusparse"});
  if (asked == "dense" || !conv::fits(bsr_shape(c), bsr.r)) return false;
  auto work = conv_work(c.shape, bsr.blocks * bsr.r * bsr.c, dtype);
  work.planes = view.scratch();
  work.block_rows = static_cast<int32_t>(bsr.r);
  work.tensor_cores = cuda::bsr::fits_tensor_cores(bsr.r, bsr.c);
  return asked == "sparse" || conv::runs_sparse(conv::ConvKernel::kBlocks, work, scope.machine());
}

/// [out_channels, in_channels / groups, kernel height, kernel width]
Tensor dense_weight(const ConvBsr& c, const CudaScope& scope) {
  static const auto unpack = find_op<UnpackBsr>("jouleprune::unpack_bsr");
  const auto& w = c.weight;
  const auto& bsr = w.bsr;
  return *kept_unless_fresh<Tensor>("bsr conv weight", {w.block_columns, w.block_row_offsets, w.blocks},
                                    {bsr.rows << 32 | bsr.cols, bsr.r << 32 | bsr.c, c.taps(), c.group_channels()}, scope, [&] {
                                      return conv_weight_of(unpack.call(w.blocks, w.block_columns, w.block_row_offsets, bsr.rows, bsr.cols), c);
                                    });
}

Tensor conv2d_bsr_cuda(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                       const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias, int64_t out_channels,
                       int64_t in_channels, Sizes kernel_size, Sizes stride, Sizes padding, Sizes dilation, int64_t groups,
                       std::string_view activation, const OptionalTensor& residual) {
  constexpr const char* op = "conv2d_bsr";
  const ConvGeometry geometry{kernel_size, stride, padding, dilation, groups};
  const auto act = parse_activation(op, activation);
  check_conv_input(op, input, in_channels, kernel_size, groups);
  const CudaScope scope(input);
  auto c = check_conv_bsr(op, {&blocks, {}, block_columns, block_row_offsets, &key, out_channels, 0}, input.sizes(), geometry, input,
                          "input");
  check_prepacked(op, prepacked, "prepack_bsr");
  const auto checked_bias = check_bias(op, bias, out_channels, input);
  const auto shape = bsr_shape(c);
  const auto view = conv::forward_view(shape);
  if (!runs_sparse(c, view, input.scalar_type(), scope)) {
    const auto product = dense_conv(input, dense_weight(c, scope), checked_bias, geometry).contiguous();
    return finish(act, product, check_residual(op, residual, product, input));
  }
  auto output = at::empty({c.shape.batch, out_channels, c.shape.out_height(), c.shape.out_width()}, input.options());
  const auto added = check_residual(op, residual, output, input);
  const auto added_plain = added.defined() ? added.contiguous() : added;
  c.weight.blocks = aligned(c.weight.blocks);
  const auto image = aligned(input.contiguous());
  const auto windows = device_windows(c);
  auto planes = scratch_for(input, view.scratch());
  scope.run(conv::BsrConv{launch_weight(c.weight, windows->longest, input), shape, windows->data(), image.const_data_ptr(),
                          planes.mutable_data_ptr(), output.mutable_data_ptr(),
                          {pointer_or_null(checked_bias), pointer_or_null(added_plain), cuda_activation(act)}});
  return output;
}

Tensor conv2d_bsr_backward_input_cuda(const Tensor& grad_output, const Tensor& blocks, const Tensor& block_columns,
                                      const Tensor& block_row_offsets, const Tensor& key, Sizes input_size, Sizes kernel_size,
                                      Sizes stride, Sizes padding, Sizes dilation, int64_t groups) {
  constexpr const char* op = "conv2d_bsr_backward_input";
  const ConvGeometry geometry{kernel_size, stride, padding, dilation, groups};
  check_conv_grad(op, grad_output, input_size, kernel_size, groups);
  const CudaScope scope(grad_output);
  const FreshValues fresh;
  auto c = check_conv_bsr(op, {&blocks, {}, block_columns, block_row_offsets, &key, output_channels(op, grad_output), 0}, input_size,
                          geometry, grad_output, "grad_output");
  check_grad_output(op, grad_output, c.shape);
  const auto shape = bsr_shape(c);
  const auto view = conv::input_view(shape);
  if (!runs_sparse(c, view, grad_output.scalar_type(), scope)) {
    return dense_conv_grad_input(grad_output, input_size, dense_weight(c, scope), geometry);
  }
  auto grad_input = at::empty(input_size, grad_output.options());
  c.weight.blocks = aligned(c.weight.blocks);
  const auto grads = aligned(grad_output.contiguous());
  const auto windows = device_transposed_windows(c);
  auto planes = scratch_for(grad_output, view.scratch());
  scope.run(conv::BsrConvInput{launch_weight(c.weight, 0, grad_output), windows->view(), shape, windows->data(), grads.const_data_ptr(),
                               planes.mutable_data_ptr(), grad_input.mutable_data_ptr()});
  return grad_input;
}

Tensor conv2d_bsr_backward_values_cuda(const Tensor& grad_output, const Tensor& input, const Tensor& block_columns,
                                       const Tensor& block_row_offsets, const Tensor& key, Sizes block_size, Sizes kernel_size,
                                       Sizes stride, Sizes padding, Sizes dilation, int64_t groups) {
  constexpr const char* op = "conv2d_bsr_backward_values";
  const ConvGeometry geometry{kernel_size, stride, padding, dilation, groups};
  check_conv_grad(op, grad_output, input.sizes(), kernel_size, groups);
  check_alike(op, grad_output, input);
  const CudaScope scope(grad_output);
  const auto c = check_conv_bsr(op, {nullptr, block_size, block_columns, block_row_offsets, &key, output_channels(op, grad_output), 0},
                                input.sizes(), geometry, grad_output, "grad_output");
  check_grad_output(op, grad_output, c.shape);
  const auto shape = bsr_shape(c);
  const auto view = conv::forward_view(shape);
  if (!runs_sparse(c, view, grad_output.scalar_type(), scope)) {
    const int64_t sizes[] = {c.shape.out_channels, c.group_channels(), c.shape.kernel_h, c.shape.kernel_w};
    return kept_blocks_of(dense_conv_grad_weight(grad_output, input, sizes, geometry), c);
  }
  auto grad_blocks = at::empty({c.weight.bsr.blocks, c.weight.bsr.r, c.weight.bsr.c}, grad_output.options());
  const auto grads = aligned(grad_output.contiguous()), image = aligned(input.contiguous());
  const auto windows = device_windows(c);
  auto grad_planes = scratch_for(grad_output, conv::plain_view(shape).scratch()), planes = scratch_for(grad_output, view.scratch());
  scope.run(conv::BsrConvBlocks{launch_weight(c.weight, windows->longest, grad_output), shape, windows->data(), grads.const_data_ptr(),
                                image.const_data_ptr(), grad_planes.mutable_data_ptr(), planes.mutable_data_ptr(),
                                grad_blocks.mutable_data_ptr()});
  return grad_blocks;
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, JOULEPRUNE_CUDA_KEY, m) {
  m.impl("conv2d_bsr", TORCH_FN(jouleprune::ops::conv2d_bsr_cuda));
  m.impl("conv2d_bsr_backward_input", TORCH_FN(jouleprune::ops::conv2d_bsr_backward_input_cuda));
  m.impl("conv2d_bsr_backward_values", TORCH_FN(jouleprune::ops::conv2d_bsr_backward_values_cuda));
}
