// What is done to a finished sum before it is stored: bias, activation, residual.
#pragma once
#if !defined(__CUDACC__)
#include <cmath>
#endif

#include "simt/elements.h"

namespace jouleprune::cuda {

enum class Activation : int32_t {
  kNone,
  kRelu,  ///< clamp at 0; NaN stays NaN
  kGelu,  ///< x times the normal distribution function (the exact one, by erf)
  kSilu,  ///< x / (1 + exp(-x))
};

/// Element types as in the kernels' sources; null where there is none.
struct Epilogue {
  const void* bias = nullptr;      // [rows]
  const void* residual = nullptr;  // [n, rows], with the strides of the output
  Activation activation = Activation::kNone;
};

template <class Sum>
JP_BODY Sum activated(Sum x, Activation activation) {
#if !defined(__CUDACC__)
  using std::erf, std::exp;
#endif
  switch (activation) {
    case Activation::kNone: return x;
    case Activation::kRelu: return x < Sum(0) ? Sum(0) : x;
    case Activation::kGelu: return Sum(0.5) * x * (Sum(1) + erf(x * Sum(0.70710678118654752440)));
    case Activation::kSilu: return x / (Sum(1) + exp(-x));
  }
  return x;
}

/// activation(sum + bias + residual). Where a residual is added, the sum and what comes of it are rounded first, as two
/// ops would.
template <class T, class Ctx>
JP_BODY T finished(const Ctx& ctx, const Epilogue& e, simt::SumOf<T> sum, int64_t row, int64_t place) {
  using Sum = simt::SumOf<T>;
  if (e.bias != nullptr) {
    sum += static_cast<Sum>(simt::widen(ctx.load(static_cast<const T*>(e.bias) + row)));
  }
  if (e.residual != nullptr) {
    sum = static_cast<Sum>(simt::widen(simt::narrow<T>(sum))) +
          static_cast<Sum>(simt::widen(ctx.load(static_cast<const T*>(e.residual) + place)));
    sum = static_cast<Sum>(simt::widen(simt::narrow<T>(sum)));
  }
  return simt::narrow<T>(activated(sum, e.activation));
}

}  // namespace jouleprune::cuda
