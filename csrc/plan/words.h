// Numbers as people read them, and a short hash for the plan.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace jouleprune::plan {

/// "12.3 uJ"; three significant digits.
std::string joules_text(double joules);
/// "1,234,567"
std::string count_text(int64_t count);
/// Two significant digits at least: "0.31", "0.0042".
std::string share_text(double share);
/// Shortest text that parses to the same double.
std::string number_text(double value);
/// 32 hex digits; stable across machines.
std::string hash_text(std::string_view text);

}  // namespace jouleprune::plan
