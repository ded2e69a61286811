#include "nn/conv_quads.h"

#include <ATen/ops/constant_pad_nd.h>

#include "kernels/bsr_int8/bsr_int8_kernels.h"

namespace jouleprune::nn {
namespace {

int64_t filled(int64_t channels) { return kernels::bsr_int8::quads_of(channels) * kernels::bsr_int8::kQuad; }

}  // namespace

at::Tensor taps_first(const at::Tensor& weight) {
  const int64_t channels = weight.size(1);
  return at::constant_pad_nd(weight.permute({0, 2, 3, 1}), {0, filled(channels) - channels}).contiguous();
}

at::Tensor taps_last(const at::Tensor& matrix, at::IntArrayRef sizes) {
  const auto taps = matrix.view({sizes[0], sizes[2], sizes[3], filled(sizes[1])});
  return taps.slice(3, 0, sizes[1]).permute({0, 3, 1, 2}).contiguous();
}

}  // namespace jouleprune::nn
