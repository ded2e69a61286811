#include "select/ranking.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace jouleprune::select {
namespace {

std::vector<float> random_scores(size_t units, uint32_t seed, bool coarse) {
  std::mt19937 engine(seed);
  std::vector<float> scores(units);
  for (float& score : scores) {
    const double x = static_cast<double>(engine()) * 0x1p-32;
    score = static_cast<float>(coarse ? std::floor(x * 7) : std::exp(20 * x - 15));
  }
  return scores;
}

/// Every query against a sorted copy.
void expect_like_sorted(const std::vector<float>& scores) {
  Ranking ranking(scores, "w");
  std::vector<float> sorted = scores;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  const int64_t units = static_cast<int64_t>(scores.size());
  const int64_t stride = std::max<int64_t>(1, units / 97);
  for (int64_t rank = 1; rank <= units; rank += stride) {
    const float score = sorted[static_cast<size_t>(rank - 1)];
    ASSERT_EQ(score_of(ranking.key_at(rank)), score) << rank;
    const auto not_less = std::partition_point(sorted.begin(), sorted.end(), [score](float s) { return s >= score; });
    const int64_t count = not_less - sorted.begin();
    ASSERT_EQ(ranking.at_least(key_of(score)), count);
    ASSERT_GE(ranking.at_least(key_of(score), Rounding::kUp), count);
    ASSERT_LE(ranking.at_least(key_of(score), Rounding::kDown), count);
  }
  double lost = 0, all = 0;
  for (const float score : sorted) all += static_cast<double>(score);
  for (int64_t kept = units; kept >= 0; --kept) {
    if (kept % stride == 0) {
      ASSERT_NEAR(ranking.lost(kept), lost, 1e-9 * all) << kept;
      ASSERT_NEAR(ranking.lost_about(kept), lost, 0.01 * all) << kept;
    }
    if (kept > 0) lost += static_cast<double>(sorted[static_cast<size_t>(kept - 1)]);
  }
}

TEST(Ranking, AgreesWithSorting) {
  for (const size_t units : {1u, 2u, 7u, 64u, 513u, 5000u}) {
    expect_like_sorted(random_scores(units, static_cast<uint32_t>(units), false));
    expect_like_sorted(random_scores(units, static_cast<uint32_t>(units), true));
  }
}

TEST(Ranking, BinsTooFullToGather) {
  std::vector<float> scores(200'000);
  for (size_t i = 0; i < scores.size(); ++i) scores[i] = 1.0f + static_cast<float>(i % 1009) * 0x1p-23f;  // one bin
  expect_like_sorted(scores);
}

TEST(Ranking, MoreEqualScoresThanOneCounterHolds) {
  const float score = score_of(0x3f80ffffu);  // the most that the low bits of a key can add up to
  const std::vector<float> scores((size_t{1} << 24) + 100, score);
  Ranking ranking(scores, "w");
  EXPECT_EQ(ranking.at_least(key_of(score)), ranking.units());
  EXPECT_EQ(ranking.at_least(key_of(score) + 1), 0);
  EXPECT_DOUBLE_EQ(ranking.lost(0), static_cast<double>(score) * static_cast<double>(ranking.units()));
}

TEST(Ranking, ZerosDenormalsAndNegativeZero) {
  const std::vector<float> scores{0.0f, -0.0f, 1e-45f, 0.0f, 3e38f, 1e-40f};
  Ranking ranking(scores, "w");
  EXPECT_EQ(ranking.at_least(1), 3);
  EXPECT_EQ(ranking.at_least(0), 6);
  EXPECT_EQ(ranking.key_at(4), 0u);
  EXPECT_EQ(ranking.lost(3), 0.0);
  expect_like_sorted(scores);
}

TEST(Ranking, EmptyLayer) {
  Ranking ranking({}, "w");
  EXPECT_EQ(ranking.at_least(0), 0);
  EXPECT_EQ(ranking.lost(0), 0.0);
}

TEST(Ranking, NamesTheScoreItRefuses) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(), -1e-30f}) {
    const std::vector<float> scores{1.0f, 0.0f, bad};
    try {
      Ranking ranking(scores, "fc1.weight");
      FAIL() << bad;
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find("fc1.weight"), std::string::npos);
      EXPECT_NE(std::string(error.what()).find("index 2"), std::string::npos);
    }
  }
}

TEST(CutKey, LeastFloatNotBelow) {
  EXPECT_EQ(cut_key(0), 1u);  // a score of 0 never passes a cut
  EXPECT_EQ(cut_key(1.0), key_of(1.0f));
  EXPECT_EQ(cut_key(std::nextafter(1.0, 2.0)), key_of(std::nextafter(1.0f, 2.0f)));
  EXPECT_EQ(cut_key(std::nextafter(1.0, 0.0)), key_of(1.0f));
  EXPECT_EQ(cut_key(1e39), kKeyEnd);
  EXPECT_EQ(cut_key(std::numeric_limits<double>::infinity()), kKeyEnd);
  EXPECT_EQ(cut_key(5e-324), 1u);
}

}  // namespace
}  // namespace jouleprune::select
