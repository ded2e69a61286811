#include "kernels/switches.h"

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

namespace jouleprune::kernels {

bool switched_on(const char* variable, bool unless_told) {
  const char* const value = std::getenv(variable);
  const std::string_view text = value == nullptr ? "" : value;
  if (text != "" && text != "0" && text != "1") {
    throw std::invalid_argument(std::string(variable) + ": expected 0, 1 or nothing, got '" + std::string(text) + "'");
  }
  return text == "" ? unless_told : text == "1";
}

}  // namespace jouleprune::kernels
