#include "plan/words.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

namespace jouleprune::plan {
namespace {
template <typename... Values>
std::string printed(const char* format, Values... values) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, values...);
  return text.data();
}

/// FNV-1a with a finishing mix; the seed makes the two halves independent.
uint64_t mixed(std::string_view text, uint64_t seed) {
  uint64_t hash = 0xcbf29ce484222325u ^ seed;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  hash = (hash ^ (hash >> 32)) * 0xd6e8feb86659fd93u;
  return hash ^ (hash >> 32);
}
}  // namespace

std::string joules_text(double joules) {
  struct Unit {
    double size;
    const char* name;
  };
  static constexpr std::array<Unit, 6> kUnits{
      {{1, "J"}, {1e-3, "mJ"}, {1e-6, "uJ"}, {1e-9, "nJ"}, {1e-12, "pJ"}, {1e-15, "fJ"}}};
  if (joules == 0) return "0 J";
  for (const Unit& unit : kUnits) {
    if (std::abs(joules) >= unit.size) return printed("%.3g %s", joules / unit.size, unit.name);
  }
  return printed("%.3g J", joules);
}

std::string count_text(int64_t count) {
  std::string digits = std::to_string(count);
  const size_t sign = count < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > sign + 3;) digits.insert(at -= 3, ",");
  return digits;
}

std::string share_text(double share) { return printed("%.2g", share); }

std::string number_text(double value) {
  std::array<char, 40> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return std::string(text.data(), end);
}

std::string hash_text(std::string_view text) {
  return printed("%016llx", static_cast<unsigned long long>(mixed(text, 0))) +
         printed("%016llx", static_cast<unsigned long long>(mixed(text, 0x9e3779b97f4a7c15u)));
}

}  // namespace jouleprune::plan
