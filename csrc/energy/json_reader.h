// Strict reading of JSON: every error names the document and the JSON pointer of the place.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace jouleprune::energy {

using Json = nlohmann::json;

/// Throws the error type of the document that is read; the message is complete.
using Fail = void (*)(const std::string& message);

/// The Fail of documents that an argument names.
[[noreturn]] inline void throw_invalid_argument(const std::string& message) { throw std::invalid_argument(message); }

struct Document {
  std::string origin;  ///< named first in errors: "profile 'x.json'"
  Fail fail;
};

/// Largest count that a JSON number and a double both hold exactly.
inline constexpr int64_t kMaxCount = int64_t{1} << 53;

/// Parses; refuses syntax errors, duplicate keys, text after the value, and nesting deeper than `max_depth`.
Json parse_json(std::string_view text, const Document& document, int max_depth = 16);

/// One value and its place. Cheap to copy; the JSON must outlive it.
class Node {
 public:
  Node(const Json& json, const Document& document, std::string pointer = "")
      : json_(&json), document_(&document), pointer_(std::move(pointer)) {}

  const std::string& pointer() const { return pointer_; }
  const Json& json() const { return *json_; }

  /// This value must be an object with no other keys than these.
  void expect_keys(std::initializer_list<std::string_view> keys) const;
  void expect_object() const;
  bool has(std::string_view key) const { return json_->contains(key); }
  Node at(std::string_view key) const;  ///< fails when it is missing
  Node item(size_t index) const;
  Node member(const std::string& key) const { return at(key); }  ///< of an object whose keys are free
  size_t array_size(size_t max) const;

  std::string text(size_t max_length = 4096) const;
  std::string one_of(std::initializer_list<std::string_view> choices) const;
  bool boolean() const;
  double number() const;  ///< finite
  int64_t count() const;  ///< an integer from 0 to kMaxCount

  [[noreturn]] void fail(const std::string& expected) const;      ///< "POINTER: expected ..., got <this value>"
  [[noreturn]] void fail_plainly(const std::string& what) const;  ///< "POINTER: what"

 private:
  const Json* json_;
  const Document* document_;
  std::string pointer_;
};

/// "a, b, c".
std::string joined(const std::vector<std::string>& words);

}  // namespace jouleprune::energy
