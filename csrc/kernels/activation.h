// What kernels apply to a finished sum, before it is rounded to the element type.
#pragma once
#include <cstdint>

namespace jouleprune::kernels {

enum class Activation : int32_t {
  kNone,
  kRelu,  ///< clamp at 0; NaN stays NaN, -0.0 may come out as either zero
  kGelu,  ///< x times the normal distribution function (the exact one, by erf)
  kSilu,  ///< x / (1 + exp(-x))
};

}  // namespace jouleprune::kernels
