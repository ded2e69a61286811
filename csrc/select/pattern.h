// Which zeros a pruned weight may have, as users write it: "unstructured", "16x1", "4x4", "2:4".
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace jouleprune::select {

/// The largest M of "N:M".
inline constexpr int64_t kMostOf = 32;

struct Pattern {
  enum class Kind {
    kUnstructured,  ///< any weight
    kBlock,         ///< whole blocks of r outputs x c inputs; "16x1" is what others call a vector
    kNofM,          ///< of every m neighbouring inputs of an output at most n stay
  };
  Kind kind = Kind::kUnstructured;
  int64_t r = 1, c = 1;  ///< of a block
  int64_t n = 0, m = 0;  ///< of "n:m"

  /// Throws core::PatternError that says what there is.
  static Pattern parse(std::string_view text);
  std::string text() const;
};

}  // namespace jouleprune::select
