// Tables of inner loops have a member per element type; this picks it.
#pragma once
#include <type_traits>

#include "kernels/scalar_types.h"

namespace jouleprune::kernels {

/// tables.float32, float64, bfloat16 or float16.
template <class T, class Tables>
const auto& element_of(const Tables& tables) {
  if constexpr (std::is_same_v<T, float>) {
    return tables.float32;
  } else if constexpr (std::is_same_v<T, double>) {
    return tables.float64;
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return tables.bfloat16;
  } else {
    static_assert(std::is_same_v<T, Half>);
    return tables.float16;
  }
}

}  // namespace jouleprune::kernels
