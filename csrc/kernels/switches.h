// Environment variables that turn something on or off.
#pragma once

namespace jouleprune::kernels {

/// 1 is on, 0 off, nothing `unless_told`. Throws std::invalid_argument, which names the variable, for anything else.
bool switched_on(const char* variable, bool unless_told);

}  // namespace jouleprune::kernels
