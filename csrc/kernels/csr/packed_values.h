// The values of a weight in another order, widened to the type that sums are kept in. Made anew when values change; the order, a
// property of the structure, stays.
#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/denormals.h"
#include "kernels/packed_forms.h"
#include "kernels/scalar_types.h"

namespace jouleprune::kernels::csr {

/// packed[i] = values[order[i]], denormals as 0.
template <class T>
std::vector<Accumulate<T>> gather_values(const T* values, const std::vector<int32_t>& order) {
  std::vector<Accumulate<T>> packed(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    packed[i] = flushed(widen(values[order[i]]));
  }
  return packed;
}

template <class T>
constexpr int64_t kElementCode = sizeof(T) == 8 ? 8 : sizeof(T) == 4 ? 4 : std::is_same_v<T, BFloat16> ? 2 : 1;

template <class A>
struct PackedValues : PackedForm {
  explicit PackedValues(std::vector<A> packed) : values(std::move(packed)) {}
  int64_t bytes() const override { return static_cast<int64_t>(values.size() * sizeof(A)); }

  std::vector<A> values;
};

/// The gathered values, kept among `forms`. `name`: the order's, with `of_values` set.
template <class T>
std::shared_ptr<const PackedValues<Accumulate<T>>> packed_values(PackedForms* forms, FormName name, const T* values,
                                                                 const std::vector<int32_t>& order) {
  using Form = PackedValues<Accumulate<T>>;
  name.details.back() = kElementCode<T>;  // the same memory may be seen as two types
  return form_of<Form>(forms, name, [&] { return std::make_shared<const Form>(gather_values(values, order)); });
}

}  // namespace jouleprune::kernels::csr
