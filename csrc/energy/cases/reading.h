// Bits of reading that case files share.
#pragma once
#include <string>
#include <vector>

#include "energy/json_reader.h"

namespace jouleprune::energy::cases {

/// A count from 1 on.
inline int64_t positive(const Node& node) {
  const int64_t value = node.count();
  if (value < 1) node.fail("an integer from 1 to 2^53");
  return value;
}

/// A count that products of a few stay exact of: bits of a word, words of a block.
inline int64_t small_count(const Node& node, int64_t least = 0) {
  const int64_t value = node.count();
  if (value < least || value > (int64_t{1} << 20)) node.fail("an integer from " + std::to_string(least) + " to 2^20");
  return value;
}

inline double at_least_0(const Node& node) {
  const double value = node.number();
  if (value < 0 || value > 1e30) node.fail("a number from 0 to 1e30");
  return value;
}

inline double optional_number(const Node& node, const char* key, double missing) {
  return node.has(key) ? at_least_0(node.at(key)) : missing;
}

/// Keys of an object whose keys are free, sorted; at most `max`.
inline std::vector<std::string> keys_of(const Node& node, size_t max) {
  node.expect_object();
  if (node.json().size() > max) node.fail_plainly("expected at most " + std::to_string(max) + " entries");
  std::vector<std::string> keys;
  for (const auto& [key, value] : node.json().items()) keys.push_back(key);
  return keys;
}

/// Position of a name; fails on `node` when it is not among `names`.
inline size_t position(const Node& node, const std::vector<std::string>& names, const char* what) {
  const std::string name = node.text(128);
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return i;
  }
  node.fail(std::string(what) + " (" + joined(names) + ")");
}

}  // namespace jouleprune::energy::cases
