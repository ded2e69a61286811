#include "select/n_of_m.h"

#include <gtest/gtest.h>

#include <random>
#include <stdexcept>
#include <vector>

#include "kernels/products.h"

namespace jouleprune::select {
namespace {
using kernels::serial;
using kernels::csr::testing::threads;

template <class Score>
std::vector<char> keep(const std::vector<Score>& scores, const std::vector<char>& left, const Lines& lines, int64_t n,
                       int64_t m, const kernels::ParallelFor& parallel = serial) {
  std::vector<char> kept(scores.size(), 2);
  keep_n_of_m(scores.data(), left.empty() ? nullptr : reinterpret_cast<const bool*>(left.data()), lines, n, m,
              reinterpret_cast<bool*>(kept.data()), parallel);
  return kept;
}

/// An entry stays when fewer than n of its group are better: larger, or as large and before it.
template <class Score>
std::vector<char> keep_by_definition(const std::vector<Score>& scores, const std::vector<char>& left,
                                     const Lines& lines, int64_t n, int64_t m) {
  std::vector<char> kept(scores.size(), 0);
  const auto is_left = [&](size_t at) { return left.empty() || left[at] != 0; };
  for (int64_t outer = 0; outer < lines.outer; ++outer) {
    for (int64_t inner = 0; inner < lines.inner; ++inner) {
      const auto place = [&](int64_t i) {
        return static_cast<size_t>((outer * lines.length + i) * lines.inner + inner);
      };
      for (int64_t i = 0; i < lines.length; ++i) {
        int64_t better = 0;
        for (int64_t j = i / m * m; j < std::min(i / m * m + m, lines.length); ++j) {
          const auto mine = magnitude(scores[place(i)]), other = magnitude(scores[place(j)]);
          better += is_left(place(j)) && (other > mine || (other == mine && j < i));
        }
        kept[place(i)] = is_left(place(i)) && better < n;
      }
    }
  }
  return kept;
}

template <class Score>
void expect_pattern() {
  std::mt19937 random(5);
  for (const Lines& lines : {Lines{3, 8, 1}, Lines{2, 11, 3}, Lines{1, 1, 1}, Lines{4, 3, 5}, Lines{0, 8, 2},
                             Lines{2, 0, 2}, Lines{60, 700, 2}}) {
    std::vector<Score> scores;
    std::vector<char> left;
    for (int64_t i = 0; i < lines.outer * lines.length * lines.inner; ++i) {
      scores.push_back(static_cast<Score>(static_cast<int>(random() % 15) - 7));
      left.push_back(random() % 3 != 0);
    }
    for (const auto& [n, m] : {std::pair(2, 4), {1, 2}, {0, 3}, {4, 4}, {3, 7}, {1, 1}, {40, 100}}) {
      for (const auto& mask : {left, std::vector<char>{}}) {
        const auto kept = keep(scores, mask, lines, n, m);
        ASSERT_EQ(kept, keep_by_definition(scores, mask, lines, n, m)) << n << ":" << m << " " << lines.length;
        ASSERT_EQ(keep(scores, mask, lines, n, m, threads(3)), kept);
      }
    }
  }
}

TEST(NOfM, EqualsItsDefinition) {
  expect_pattern<float>();
  expect_pattern<double>();
  expect_pattern<int64_t>();
}

TEST(NOfM, ExampleByHand) {
  const std::vector<float> row{1, -4, 3, 2, 5, 5, 5, 5, -1, 0};
  EXPECT_EQ(keep(row, {}, {1, 10, 1}, 2, 4), (std::vector<char>{0, 1, 1, 0, 1, 1, 0, 0, 1, 1}));
  EXPECT_EQ(keep(row, {1, 0, 1, 1, 1, 0, 0, 0, 1, 1}, {1, 10, 1}, 2, 4),
            (std::vector<char>{0, 0, 1, 1, 1, 0, 0, 0, 1, 1}));
}

TEST(NOfM, RefusesPatternsThatAreNone) {
  for (const auto& [n, m] : {std::pair(-1, 4), {5, 4}, {0, 0}}) {
    EXPECT_THROW(keep(std::vector<float>{1}, {}, {1, 1, 1}, n, m), std::invalid_argument) << n << ":" << m;
  }
}

}  // namespace
}  // namespace jouleprune::select
