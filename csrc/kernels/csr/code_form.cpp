#include "kernels/csr/code_form.h"

#include <functional>

namespace jouleprune::kernels::csr {

std::shared_ptr<const jit::PatternCode> code_of_structure(PackedForms* forms, std::string_view kernel,
                                                          std::span<const int64_t> details,
                                                          const std::function<jit::PatternSpec()>& spec) {
  if (forms == nullptr) {
    return std::make_shared<const jit::PatternCode>(spec());
  }
  const auto kept = form_of<CodeOfStructure>(forms, form_name(kernel, details, false), [&] {
    jit::CodeName name{forms->structure_key(), {}};
    name.details[0] = static_cast<int64_t>(std::hash<std::string_view>{}(kernel));
    std::copy(details.begin(), details.end(), name.details.begin() + 1);
    return std::make_shared<const CodeOfStructure>(jit::shared_code(name, spec));
  });
  return kept->code;
}

}  // namespace jouleprune::kernels::csr
