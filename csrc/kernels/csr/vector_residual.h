// Included by vector_body.h; internal linkage throughout, see vector.h.
#pragma once
#include "kernels/csr/vector_activate.h"
#include "kernels/csr/vector_pack.h"

namespace jouleprune::kernels::csr {
namespace {

template <class T, Activation kActivation>
void add_residual_as(const T* residual, int64_t count, T* output) {
  using A = Accumulate<T>;
  constexpr int64_t kStep = kLanes<A>;
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    store_narrow<T>(output + i, activated<A>(kActivation, load_wide(output + i) + load_wide(residual + i)));
  }
  if (i < count) {
    Vector<A> sum{};
    for (int64_t j = i; j < count; ++j) {
      sum[j - i] = widen(output[j]) + widen(residual[j]);
    }
    sum = activated<A>(kActivation, sum);
    for (int64_t j = i; j < count; ++j) {
      output[j] = narrow<T>(sum[j - i]);
    }
  }
}

template <class T>
void add_residual(const T* residual, Activation activation, int64_t count, T* output) {
  switch (activation) {
    case Activation::kNone: return add_residual_as<T, Activation::kNone>(residual, count, output);
    case Activation::kRelu: return add_residual_as<T, Activation::kRelu>(residual, count, output);
    case Activation::kGelu: return add_residual_as<T, Activation::kGelu>(residual, count, output);
    case Activation::kSilu: return add_residual_as<T, Activation::kSilu>(residual, count, output);
  }
}

}  // namespace
}  // namespace jouleprune::kernels::csr
