// The weight of a convolution as int8 stores it: blocks of 1 x 4 are four neighbouring channels at one tap.
#pragma once
#include <ATen/core/Tensor.h>

namespace jouleprune::nn {

/// [out, channels, kh, kw] -> [out, kh, kw, channels], channels filled up with zeros to a multiple of four.
at::Tensor taps_first(const at::Tensor& weight);

/// The way back: [out, kh x kw x filled channels] -> `sizes`, [out, channels, kh, kw].
at::Tensor taps_last(const at::Tensor& matrix, at::IntArrayRef sizes);

}  // namespace jouleprune::nn
