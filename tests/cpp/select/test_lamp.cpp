#include "select/lamp.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

namespace jouleprune::select {
namespace {

template <class Weight>
std::vector<double> by_definition(const std::vector<Weight>& weights) {
  std::vector<size_t> order(weights.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return std::abs(weights[a]) < std::abs(weights[b]); });
  std::vector<double> scores(weights.size());
  double sum = 0;
  for (size_t rank = order.size(); rank-- > 0;) {
    const double square = static_cast<double>(weights[order[rank]]) * static_cast<double>(weights[order[rank]]);
    sum += square;
    scores[order[rank]] = sum > 0 ? square / sum : 0;
  }
  return scores;
}

template <class Weight>
void expect_by_definition(const std::vector<Weight>& weights) {
  std::vector<float> scores(weights.size());
  lamp(std::span(weights), std::span(scores));
  const std::vector<double> expected = by_definition(weights);
  for (size_t i = 0; i < weights.size(); ++i) ASSERT_FLOAT_EQ(scores[i], static_cast<float>(expected[i])) << i;
}

template <class Weight>
std::vector<Weight> drawn(size_t count, bool coarse) {
  std::mt19937_64 engine(count);
  std::normal_distribution<double> normal;
  std::vector<Weight> weights(count);
  for (Weight& weight : weights) weight = static_cast<Weight>(coarse ? std::round(normal(engine)) : std::exp(5 * normal(engine)) * normal(engine));
  return weights;
}

TEST(Lamp, EqualsItsDefinition) {
  for (const size_t count : {0u, 1u, 2u, 31u, 2049u, 30'000u}) {
    for (const bool coarse : {false, true}) {
      expect_by_definition(drawn<float>(count, coarse));
      expect_by_definition(drawn<double>(count, coarse));
    }
  }
}

TEST(Lamp, ZerosOfBothSignsAndTies) {
  expect_by_definition<float>({0.0f, -0.0f, 0.0f});
  expect_by_definition<float>({1.0f, -1.0f, 1.0f, -0.0f, 1e-45f, -3e38f});
}

TEST(Lamp, SquaresBeyondTheRangeOfDouble) {
  const std::vector<double> huge{3e200, 4e200, -1e-200}, tiny{3e-200, 4e-200, 0};
  for (const std::vector<double>& weights : {huge, tiny}) {
    std::vector<float> scores(3);
    lamp(std::span(weights), std::span(scores));
    EXPECT_FLOAT_EQ(scores[0], 9.0f / 25.0f);
    EXPECT_FLOAT_EQ(scores[1], 1.0f);
    EXPECT_EQ(scores[2], 0.0f);
  }
}

}  // namespace
}  // namespace jouleprune::select
