// quantize_bytes on the CPU.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "ops/bsr_int8_checks.h"
#include "ops/csr_checks.h"
#include "ops/parallel.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

std::tuple<Tensor, Tensor> quantize_bytes_cpu(const Tensor& input, const OptionalTensor& input_scale, int64_t shared_dims) {
  constexpr const char* op = "quantize_bytes";
  check_strided(op, "input", input);
  const auto dtype = input.scalar_type();
  TORCH_CHECK_TYPE(dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf, op,
                   ": input: expected float32, bfloat16 or float16, got ", dtype);
  TORCH_CHECK_VALUE(shared_dims >= 1 && shared_dims <= input.dim(), op, ": shared_dims: expected 1 to the dimensions of input, ",
                    input.sizes(), ", got ", shared_dims);
  const auto leading = input.sizes().slice(0, input.dim() - shared_dims);
  auto scales = at::empty(leading, input.options().dtype(at::kFloat));
  const float given = check_input_scale(op, input_scale, input, scales.numel()).scale;
  // What shares a scale is rounded in the order in which it lies in memory: that of images may have channels last.
  const bool images = input.dim() == 4 && shared_dims == 3;
  const bool last = images && input.suggest_memory_format() == at::MemoryFormat::ChannelsLast;
  const auto format = last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  const auto dense = input.to(at::kFloat).contiguous(format);
  auto bytes = at::empty_like(dense, dense.options().dtype(at::kByte), format);
  int64_t cols = 1;
  for (const int64_t size : input.sizes().slice(input.dim() - shared_dims)) {
    cols *= size;
  }
  kernels::bsr_int8::quantise({dense.const_data_ptr<float>(), scales.numel(), cols, cols, given, bytes.mutable_data_ptr<uint8_t>(),
                               scales.mutable_data_ptr<float>()},
                              torch_threads(), active_isa());
  return {std::move(bytes), std::move(scales)};
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CPU, m) { m.impl("quantize_bytes", TORCH_FN(jouleprune::ops::quantize_bytes_cpu)); }
