// Variables of the environment that force a kernel by name.
#pragma once
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <string_view>

namespace jouleprune::ops {

/// The value of `variable`, one of `words`; empty where it is unset. Throws c10::ValueError for another word.
inline std::string_view asked_kernel(const char* variable, std::initializer_list<std::string_view> words) {
  const char* const value = std::getenv(variable);
  const std::string_view asked = value == nullptr ? "" : value;
  if (asked.empty() || std::find(words.begin(), words.end(), asked) != words.end()) return asked;
  std::string known;
  for (const auto word : words) known += (known.empty() ? "" : ", ") + std::string(word);
  TORCH_CHECK_VALUE(false, variable, ": expected one of ", known, ", got '", asked, "'");
}

}  // namespace jouleprune::ops
