// Under autocast the sparse ops run in the lower precision, as torch's linear and conv2d do.
#include <ATen/autocast_mode.h>
#include <torch/library.h>

#include "ops/nm_signatures.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

using Sizes = at::IntArrayRef;

template <c10::DispatchKey key_, c10::DeviceType device_>
struct Autocast {
  static Tensor cast(const Tensor& tensor) {
    return at::autocast::cached_cast(at::autocast::get_lower_precision_fp_from_device_type(device_), tensor, device_);
  }
  static OptionalTensor cast(const OptionalTensor& tensor) {
    return tensor.has_value() && tensor->defined() ? OptionalTensor(cast(*tensor)) : std::nullopt;
  }

  static Tensor linear_csr(const Tensor& input, const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets,
                           const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias,
                           c10::SymInt in_features, std::string_view activation, const OptionalTensor& residual) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(key_);
    static const auto op = find_op<LinearCsr>("jouleprune::linear_csr");
    return op.call(cast(input), cast(values), col_indices, row_offsets, key, prepacked, cast(bias), std::move(in_features),
                   activation, cast(residual));
  }

  static Tensor linear_bsr(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                           const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias,
                           c10::SymInt out_features, c10::SymInt in_features, std::string_view activation) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(key_);
    static const auto op = find_op<LinearBsr>("jouleprune::linear_bsr");
    return op.call(cast(input), cast(blocks), block_columns, block_row_offsets, key, prepacked, cast(bias),
                   std::move(out_features), std::move(in_features), activation);
  }

  static Tensor linear_nm(const Tensor& input, const Tensor& values, const Tensor& indices, const Tensor& key,
                          const OptionalTensor& prepacked, const OptionalTensor& bias, c10::SymInt in_features, int64_t n, int64_t m,
                          std::string_view activation) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(key_);
    static const auto op = find_op<LinearNm>("jouleprune::linear_nm");
    return op.call(cast(input), cast(values), indices, key, prepacked, cast(bias), std::move(in_features), n, m, activation);
  }

  static Tensor conv2d_csr(const Tensor& input, const Tensor& values, const Tensor& col_indices, const Tensor& row_offsets,
                           const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias,
                           c10::SymInt in_channels, Sizes kernel_size, Sizes stride, Sizes padding, Sizes dilation,
                           int64_t groups, std::string_view activation, const OptionalTensor& residual) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(key_);
    static const auto op = find_op<Conv2dCsr>("jouleprune::conv2d_csr");
    return op.call(cast(input), cast(values), col_indices, row_offsets, key, prepacked, cast(bias), std::move(in_channels),
                   kernel_size, stride, padding, dilation, groups, activation, cast(residual));
  }

  static Tensor conv2d_bsr(const Tensor& input, const Tensor& blocks, const Tensor& block_columns, const Tensor& block_row_offsets,
                           const Tensor& key, const OptionalTensor& prepacked, const OptionalTensor& bias,
                           c10::SymInt out_channels, c10::SymInt in_channels, Sizes kernel_size, Sizes stride, Sizes padding,
                           Sizes dilation, int64_t groups, std::string_view activation, const OptionalTensor& residual) {
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(key_);
    static const auto op = find_op<Conv2dBsr>("jouleprune::conv2d_bsr");
    return op.call(cast(input), cast(blocks), block_columns, block_row_offsets, key, prepacked, cast(bias), std::move(out_channels),
                   std::move(in_channels), kernel_size, stride, padding, dilation, groups, activation, cast(residual));
  }
};

using AutocastCpu = Autocast<c10::DispatchKey::AutocastCPU, c10::DeviceType::CPU>;
using AutocastCuda = Autocast<c10::DispatchKey::AutocastCUDA, c10::DeviceType::CUDA>;

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, AutocastCPU, m) {
  m.impl("linear_csr", TORCH_FN(jouleprune::ops::AutocastCpu::linear_csr));
  m.impl("conv2d_csr", TORCH_FN(jouleprune::ops::AutocastCpu::conv2d_csr));
  m.impl("linear_bsr", TORCH_FN(jouleprune::ops::AutocastCpu::linear_bsr));
  m.impl("conv2d_bsr", TORCH_FN(jouleprune::ops::AutocastCpu::conv2d_bsr));
  m.impl("linear_nm", TORCH_FN(jouleprune::ops::AutocastCpu::linear_nm));
}

TORCH_LIBRARY_IMPL(jouleprune, AutocastCUDA, m) {
  m.impl("linear_csr", TORCH_FN(jouleprune::ops::AutocastCuda::linear_csr));
  m.impl("conv2d_csr", TORCH_FN(jouleprune::ops::AutocastCuda::conv2d_csr));
  m.impl("linear_bsr", TORCH_FN(jouleprune::ops::AutocastCuda::linear_bsr));
  m.impl("conv2d_bsr", TORCH_FN(jouleprune::ops::AutocastCuda::conv2d_bsr));
  m.impl("linear_nm", TORCH_FN(jouleprune::ops::AutocastCuda::linear_nm));
}
