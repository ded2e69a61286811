// A weight in layout csr as generated code and its stream of values.
#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/denormals.h"
#include "kernels/jit/pattern_code.h"
#include "kernels/packed_forms.h"
#include "kernels/scalar_types.h"

namespace jouleprune::kernels::csr {

/// Keeps generated code alive as long as its structure lives, whatever becomes of the values.
struct CodeOfStructure : PackedForm {
  explicit CodeOfStructure(std::shared_ptr<const jit::PatternCode> made) : code(std::move(made)) {}
  std::shared_ptr<const jit::PatternCode> code;
  int64_t bytes() const override { return code->bytes(); }
};

/// The code called (kernel, details) of the structure that `forms` belong to. `spec` is called when it does not exist yet; it may
/// depend on the structure and on `details` only.
std::shared_ptr<const jit::PatternCode> code_of_structure(PackedForms* forms, std::string_view kernel,
                                                          std::span<const int64_t> details,
                                                          const std::function<jit::PatternSpec()>& spec);

/// Code, and values in its order.
struct CodeForm : PackedForm {
  std::shared_ptr<const jit::PatternCode> code;
  std::unique_ptr<uint32_t[]> values;  ///< [kept values], float32 bits in the order of the code

  int64_t bytes() const override { return static_cast<int64_t>(code->value_order().size() * sizeof(uint32_t)); }
};

/// float32 bits; denormals and -0.0 become 0.
template <class T>
[[gnu::always_inline]] inline uint32_t stream_value(T value) {
  return __builtin_bit_cast(uint32_t, flushed(widen(value)) + 0.0f);
}

/// values[order] or, with `positions`, values[positions[order]]: as a stream.
template <class T>
std::unique_ptr<uint32_t[]> stream_of(const T* values, const std::vector<int32_t>& order, const int32_t* positions = nullptr) {
  auto stream = std::make_unique_for_overwrite<uint32_t[]>(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    stream[i] = stream_value(values[positions == nullptr ? order[i] : positions[order[i]]]);
  }
  return stream;
}

inline FormName form_name(std::string_view kernel, std::span<const int64_t> details, bool of_values) {
  FormName name{kernel, {}, of_values};
  std::copy(details.begin(), details.end(), name.details.begin());
  return name;
}

/// The form called (kernel, details) of a weight; `spec` as in code_of_structure. `positions`: where among `values` each entry of the
/// structure in `spec` is; null: in its own place.
template <class T>
std::shared_ptr<const CodeForm> code_form(PackedForms* forms, std::string_view kernel, std::span<const int64_t> details,
                                          const T* values, const std::function<jit::PatternSpec()>& spec,
                                          const int32_t* positions = nullptr) {
  return form_of<CodeForm>(forms, form_name(kernel, details, true), [&] {
    auto form = std::make_shared<CodeForm>();
    form->code = code_of_structure(forms, kernel, details, spec);
    form->values = stream_of(values, form->code->value_order(), positions);
    return form;
  });
}

/// bfloat16: columns 2c and 2c + 1 become one value of a matrix with half the columns, kept when either is; the code multiplies both
/// at once. `spec` gets the structure of pairs.
std::shared_ptr<const CodeForm> pair_form(PackedForms* forms, std::span<const int64_t> details, const formats::CsrView& csr,
                                          const BFloat16* values,
                                          const std::function<jit::PatternSpec(const formats::CsrView& pairs)>& spec);

}  // namespace jouleprune::kernels::csr
