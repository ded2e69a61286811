// What kernels derive from a weight and keep for the next call: values in another order, generated code, a transposed structure.
// The canonical tensors stay the only truth; a form is made anew whenever they change.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

namespace jouleprune::kernels {

/// Immutable once made; shared by threads.
class PackedForm {
 public:
  virtual ~PackedForm() = default;
  virtual int64_t bytes() const = 0;  ///< memory held, generated code included
};

/// What distinguishes a form of one weight: the kernel that made it, with everything it depends on besides the weight.
struct FormName {
  std::string_view kernel;            ///< a string literal
  std::array<int64_t, 12> details{};  ///< instruction set, geometry of a convolution, ...
  bool of_values = true;              ///< false: depends on the structure alone
  bool operator==(const FormName&) const = default;
};

/// The forms of one weight. Thread-safe.
class PackedForms {
 public:
  using Make = std::function<std::shared_ptr<const PackedForm>()>;
  virtual ~PackedForms() = default;
  /// The form of that name, made by `make` unless it is kept already. May be made twice by two threads; either serves.
  virtual std::shared_ptr<const PackedForm> get(const FormName& name, const Make& make) = 0;
  /// 128-bit content key of the weight's structure (formats::csr_key), checked: generated code is shared by it.
  virtual std::array<int64_t, 2> structure_key() const = 0;
};

/// As PackedForms::get, typed; without a place to keep it (null) the form is made for this call.
template <class Form, class MakeForm>
std::shared_ptr<const Form> form_of(PackedForms* forms, const FormName& name, const MakeForm& make) {
  if (forms == nullptr) {
    return make();
  }
  return std::static_pointer_cast<const Form>(forms->get(name, [&]() -> std::shared_ptr<const PackedForm> { return make(); }));
}

}  // namespace jouleprune::kernels
