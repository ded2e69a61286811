#include "select/hull.h"

#include <gtest/gtest.h>

#include <cmath>

namespace jouleprune::select {
namespace {

TEST(Hull, OfAConvexCurveIsTheCurve) {
  std::vector<Point> points;
  for (int64_t k = 0; k <= 20; ++k) points.push_back({k, static_cast<double>(k * k)});
  const Hull hull(points);
  for (int64_t k = 0; k <= 20; ++k) EXPECT_DOUBLE_EQ(hull.at(k), static_cast<double>(k * k));
}

TEST(Hull, OfAConcaveCurveIsItsChord) {
  std::vector<Point> points;
  for (int64_t k = 0; k <= 16; ++k) points.push_back({k, std::sqrt(static_cast<double>(k))});
  const Hull hull(points);
  EXPECT_EQ(hull.segments(), 1u);
  EXPECT_DOUBLE_EQ(hull.at(4), 1.0);
}

TEST(Hull, NeverAboveThePointsAndNonDecreasing) {
  const std::vector<Point> points{{0, 5}, {2, 4}, {3, 4}, {7, 9}, {8, 9}, {10, 30}};
  const Hull hull(points);
  for (const Point& point : points) {
    if (point.kept >= 2) {
      EXPECT_LE(hull.at(point.kept), point.joules + 1e-12);
    }
  }
  for (size_t i = 0; i + 1 < hull.segments(); ++i) EXPECT_LE(hull.slope(i), hull.slope(i + 1));
  EXPECT_EQ(hull.slope(0), 0.0);  // joules that fall with more units
}

TEST(Hull, OnePoint) {
  const Hull hull({{4, 2.5}});
  EXPECT_EQ(hull.segments(), 0u);
  EXPECT_EQ(hull.at(4), 2.5);
}

TEST(SampleCounts, AscendingWithBothEnds) {
  for (const auto& [least, units] : std::vector<std::pair<int64_t, int64_t>>{
           {0, 0}, {3, 3}, {0, 5}, {2, 258}, {0, 1'000'000}, {7, 4'000'000'000'000}}) {
    const std::vector<int64_t> counts = sample_counts(least, units);
    EXPECT_EQ(counts.front(), least);
    EXPECT_EQ(counts.back(), units);
    EXPECT_LE(counts.size(), 260u);
    for (size_t i = 0; i + 1 < counts.size(); ++i) EXPECT_LT(counts[i], counts[i + 1]);
  }
}

TEST(LastBelow, FindsTheBreakEven) {
  const auto curve = [](int64_t k) { return 3.0 + static_cast<double>(k); };
  EXPECT_EQ(last_below(0, 100, 10.0, curve), 6);
  EXPECT_EQ(last_below(0, 5, 10.0, curve), 5);
  EXPECT_EQ(last_below(0, 100, 3.5, curve), 0);
}

}  // namespace
}  // namespace jouleprune::select
