// How much the tests try.
#pragma once
#include <algorithm>
#include <cstdlib>

namespace jouleprune::test {

/// Random cases that a test draws: `usual`, or that many times JOULEPRUNE_RANDOM_CASES (above 1 the first `usual` stay the same; a
/// fraction is for slow builds, as those under a sanitizer).
inline int random_cases(int usual) {
  const char* const factor = std::getenv("JOULEPRUNE_RANDOM_CASES");
  return factor == nullptr ? usual : std::max(1, static_cast<int>(usual * std::atof(factor)));
}

}  // namespace jouleprune::test
