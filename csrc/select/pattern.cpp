#include "select/pattern.h"

#include <jouleprune/error.h>

#include <charconv>
#include <optional>

namespace jouleprune::select {
namespace {
constexpr int64_t kLongestSide = 4096;  // of a block: further out it is a whole layer

/// "16x1" -> {16, 1}; nothing when the text is no two positive numbers around the mark.
struct Two {
  int64_t first = 0, second = 0;
};
std::optional<Two> two_numbers(std::string_view text, char mark) {
  const size_t at = text.find(mark);
  if (at == std::string_view::npos) return std::nullopt;
  const auto number = [](std::string_view digits) -> int64_t {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    const bool whole = error == std::errc() && end == digits.data() + digits.size();
    return whole && value > 0 ? value : 0;
  };
  const Two found{number(text.substr(0, at)), number(text.substr(at + 1))};
  return found.first > 0 && found.second > 0 ? std::make_optional(found) : std::nullopt;
}

[[noreturn]] void refuse(std::string_view text) {
  throw core::PatternError(
      "pattern: expected \"unstructured\", blocks of R outputs x C inputs (\"16x1\", \"1x4\", \"16x16\"; up to 4096 each, more "
      "than one weight), or \"N:M\" with N < M <= 32 (\"2:4\"), got \"" +
      std::string(text.substr(0, 80)) + "\"");
}
}  // namespace

Pattern Pattern::parse(std::string_view text) {
  Pattern pattern;
  if (text == "unstructured") return pattern;
  if (const auto sides = two_numbers(text, 'x')) {
    pattern.kind = Kind::kBlock;
    pattern.r = sides->first;
    pattern.c = sides->second;
    if (pattern.r > kLongestSide || pattern.c > kLongestSide || pattern.r * pattern.c == 1) refuse(text);
    return pattern;
  }
  if (const auto share = two_numbers(text, ':')) {
    pattern.kind = Kind::kNofM;
    pattern.n = share->first;
    pattern.m = share->second;
    if (pattern.n >= pattern.m || pattern.m > kMostOf) refuse(text);
    return pattern;
  }
  refuse(text);
}

std::string Pattern::text() const {
  switch (kind) {
    case Kind::kBlock:
      return std::to_string(r) + "x" + std::to_string(c);
    case Kind::kNofM:
      return std::to_string(n) + ":" + std::to_string(m);
    case Kind::kUnstructured:
      break;
  }
  return "unstructured";
}

}  // namespace jouleprune::select
