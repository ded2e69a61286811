// A weight in layout csr as generated code and its stream of values.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "kernels/denormals.h"
#include "kernels/jit/pattern_code.h"
#include "kernels/packed_forms.h"
#include "kernels/scalar_types.h"

namespace jouleprune::kernels::csr {

struct CodeForm : PackedForm {
  std::shared_ptr<const jit::PatternCode> code;
  std::unique_ptr<uint32_t[]> values;  ///< [kept values], float32 bits in the order of the code

  int64_t bytes() const override {
    return code->bytes() + static_cast<int64_t>(code->value_order().size() * sizeof(uint32_t));
  }
};

/// float32 bits; denormals and -0.0 become 0.
template <class T>
[[gnu::always_inline]] inline uint32_t stream_value(T value) {
  return __builtin_bit_cast(uint32_t, flushed(widen(value)) + 0.0f);
}

/// The form called (kernel, details) of a weight. `spec` is called when the code does not exist yet; it may depend on the structure
/// and on `details` only. `positions`: where among `values` each entry of the structure in `spec` is; null: in its own place.
template <class T>
std::shared_ptr<const CodeForm> code_form(PackedForms* forms, std::string_view kernel, std::span<const int64_t> details,
                                          const T* values, const std::function<jit::PatternSpec()>& spec,
                                          const int32_t* positions = nullptr) {
  FormName name{kernel, {}, true};
  std::copy(details.begin(), details.end(), name.details.begin());
  return form_of<CodeForm>(forms, name, [&] {
    auto form = std::make_shared<CodeForm>();
    if (forms == nullptr) {
      form->code = std::make_shared<const jit::PatternCode>(spec());
    } else {
      jit::CodeName code_name{forms->structure_key(), {}};
      code_name.details[0] = static_cast<int64_t>(std::hash<std::string_view>{}(kernel));
      std::copy(details.begin(), details.end(), code_name.details.begin() + 1);
      form->code = jit::shared_code(code_name, spec);
    }
    const auto& order = form->code->value_order();
    form->values = std::make_unique_for_overwrite<uint32_t[]>(order.size());
    for (size_t i = 0; i < order.size(); ++i) {
      form->values[i] = stream_value(values[positions == nullptr ? order[i] : positions[order[i]]]);
    }
    return form;
  });
}

/// bfloat16: columns 2c and 2c + 1 become one value of a matrix with half the columns, kept when either is; the code multiplies both
/// at once. `spec` gets the structure of pairs.
std::shared_ptr<const CodeForm> pair_form(PackedForms* forms, std::span<const int64_t> details, const formats::CsrView& csr,
                                          const BFloat16* values,
                                          const std::function<jit::PatternSpec(const formats::CsrView& pairs)>& spec);

}  // namespace jouleprune::kernels::csr
