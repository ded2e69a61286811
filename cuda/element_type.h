// Element types of the kernels' data, as launchers are told them. Knows neither torch nor CUDA.
#pragma once
#include <cstddef>
#include <cstdint>

#include "simt/elements.h"

namespace jouleprune::cuda {

enum class ElementType { kFloat32, kFloat64, kBFloat16, kFloat16 };

constexpr size_t size_of(ElementType type) {
  return type == ElementType::kFloat64 ? 8 : type == ElementType::kFloat32 ? 4 : 2;
}

/// Calls body(T{}) with the type.
template <class Body>
auto with_type(ElementType type, const Body& body) {
  switch (type) {
    case ElementType::kFloat64: return body(double{});
    case ElementType::kBFloat16: return body(simt::BFloat16{});
    case ElementType::kFloat16: return body(simt::Half{});
    case ElementType::kFloat32: break;
  }
  return body(float{});
}

}  // namespace jouleprune::cuda
