// Activations in double, as the reference kernels apply them.
#pragma once
#include <cmath>

#include "kernels/activation.h"

namespace jouleprune::kernels {

inline double reference_activation(double x, Activation activation) {
  switch (activation) {
    case Activation::kNone: return x;
    case Activation::kRelu: return x < 0 ? 0 : x;
    case Activation::kGelu: return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::kSilu: return x / (1 + std::exp(-x));
  }
  return x;
}

}  // namespace jouleprune::kernels
