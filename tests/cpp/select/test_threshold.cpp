// The threshold search against direct evaluation, over a plain implementation of Joules.
#include "select/threshold.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "select/fill.h"
#include "select/search.h"

namespace jouleprune::select {
namespace {

/// Affine layers: base + slope x kept; dense as given.
class AffineJoules : public Joules {
 public:
  struct Line {
    double base, slope, dense;
  };
  explicit AffineJoules(std::vector<Line> lines) : lines_(std::move(lines)) {}
  double dense(size_t layer) override { return lines_[layer].dense; }
  double pruned(size_t layer, int64_t kept) override {
    return lines_[layer].base + lines_[layer].slope * static_cast<double>(kept);
  }
  double total(const Counts& counts) override {
    double sum = 0;
    for (size_t i = 0; i < counts.size(); ++i) sum += counts[i] == kDense ? dense(i) : pruned(i, counts[i]);
    return sum;
  }

 private:
  std::vector<Line> lines_;
};

Layer layer_of(const std::vector<float>& scores, AffineJoules& joules, size_t index, int64_t floor = 0) {
  const int64_t units = static_cast<int64_t>(scores.size());
  std::vector<Point> points{{floor, joules.pruned(index, floor)}};
  if (floor < units) points.push_back({units, joules.pruned(index, units)});
  return {Ranking(scores, "w"), Hull(points), floor, index};
}

TEST(Threshold, KeepsByImportancePerJoule) {
  const std::vector<float> cheap{4, 3, 2, 1},
      dear{40, 30, 20, 10};  // ten times the importance, twenty times the joules
  AffineJoules joules({{0, 1, 4}, {0, 20, 80}});
  Problem problem{{layer_of(cheap, joules, 0), layer_of(dear, joules, 1)}, &joules, 45};
  const auto selection = select_at_budget(problem, {{true, 0}, {true, 0}});
  ASSERT_TRUE(selection);
  // Scores 4 3 2 1 and 2 1.5 1 0.5: 4, 3, then both 2s (24 J), 1.5 (43 J), then the 1 of the first layer (44 J).
  EXPECT_EQ(selection->counts, (Counts{kDense, 2}));  // all four kept: the cheap layer is dense again
  EXPECT_EQ(selection->energy_j, 44);
  EXPECT_EQ(selection->lost, 30);
}

TEST(Threshold, TiesFillInPositionOrder) {
  const std::vector<float> same(10, 1.0f);
  AffineJoules joules({{0, 1, 10}, {0, 1, 10}, {0, 1, 10}});
  Problem problem{{layer_of(same, joules, 0), layer_of(same, joules, 1), layer_of(same, joules, 2)}, &joules, 14.5};
  const auto selection = select_at_budget(problem, {{true, 0}, {true, 0}, {true, 0}});
  ASSERT_TRUE(selection);
  EXPECT_EQ(selection->counts, (Counts{kDense, 4, 0}));
}

TEST(Threshold, ZerosGoFirstAndFloorsHold) {
  const std::vector<float> scores{0, 0, 5, 0, 1};
  AffineJoules joules({{0, 1, 5}});
  Problem problem{{layer_of(scores, joules, 0)}, &joules, 4.5};
  EXPECT_EQ(select_at_budget(problem, {{true, 0}})->counts, (Counts{2}));
  Problem floored{{layer_of(scores, joules, 0, 3)}, &joules, 3};
  EXPECT_EQ(select_at_budget(floored, {{true, 3}})->counts, (Counts{3}));
  floored.budget_j = 2.9;
  EXPECT_FALSE(select_at_budget(floored, {{true, 3}}));
}

TEST(Threshold, UnitsThatSaveNothingStay) {
  const std::vector<float> scores{0, 0, 5, 0, 1};
  AffineJoules joules({{2, 0, 5}});
  Problem problem{{layer_of(scores, joules, 0)}, &joules, 2};
  EXPECT_EQ(select_at_budget(problem, {{true, 0}})->counts, (Counts{5}));
}

TEST(Threshold, KeptFallsAsTheThresholdRises) {
  std::vector<float> scores(3000);
  for (size_t i = 0; i < scores.size(); ++i) scores[i] = static_cast<float>((i * 2654435761u) % 1000) * 1e-3f;
  std::vector<Point> points;
  for (const int64_t kept : {0, 100, 500, 900, 2000, 3000})
    points.push_back({kept, std::pow(static_cast<double>(kept), 1.7)});
  Layer layer{Ranking(scores, "w"), Hull(points), 0};
  int64_t before = 3000;
  for (double threshold = 1e-9; threshold < 10; threshold *= 1.01) {
    const int64_t kept = kept_at(layer, threshold);
    ASSERT_LE(kept, before);
    ASSERT_LE(kept_at(layer, threshold, Rounding::kDown), kept);
    ASSERT_GE(kept_at(layer, threshold, Rounding::kUp), kept);
    before = kept;
  }
  EXPECT_EQ(kept_at(layer, std::numeric_limits<double>::infinity()), 0);
}

TEST(Fill, CheaperUnitsTakeTheRestOfTheBudget) {
  const std::vector<float> dear{100, 100}, cheap{1, 1, 1, 1};
  AffineJoules joules({{0, 10, 20}, {0, 1, 4}});
  Problem problem{{layer_of(dear, joules, 0), layer_of(cheap, joules, 1)}, &joules, 13};
  Selection selection = *select_at_budget(problem, {{true, 0}, {true, 0}});
  EXPECT_EQ(selection.counts, (Counts{1, 0}));  // the second dear unit is next and does not fit
  EXPECT_FALSE(is_maximal(problem, selection.counts));
  fill(problem, selection);
  EXPECT_EQ(selection.counts, (Counts{1, 3}));
  EXPECT_TRUE(is_maximal(problem, selection.counts));
  EXPECT_EQ(best_removed(problem, selection.counts), 0u);
  EXPECT_EQ(joules_of_one_more(problem, selection.counts, 0), 10);
}

TEST(Fill, TheBetterUnitComesFirst) {
  const std::vector<float> dear{100, 100}, poor{1, 1, 1, 1}, better{2, 2, 2, 2};
  AffineJoules joules({{0, 10, 20}, {0, 1, 4}, {0, 1, 4}});
  Problem problem{{layer_of(dear, joules, 0), layer_of(poor, joules, 1), layer_of(better, joules, 2)}, &joules, 13};
  Selection selection = *select_at_budget(problem, {{true, 0}, {true, 0}, {true, 0}});
  EXPECT_EQ(selection.counts, (Counts{1, 0, 0}));
  fill(problem, selection);
  EXPECT_EQ(selection.counts, (Counts{1, 0, 3}));
}

TEST(Fill, ZerosOnlyComeBackToFillTheBudget) {
  const std::vector<float> scores{9, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  AffineJoules joules({{100, 0.5, 110}});
  Problem nearly_full{{layer_of(scores, joules, 0)}, &joules, 101};  // 100.5 J is above 99 % of it
  Selection selection = *select_at_budget(nearly_full, {{true, 0}});
  fill(nearly_full, selection);
  EXPECT_EQ(selection.counts, (Counts{1}));
  Problem with_room{{layer_of(scores, joules, 0)}, &joules, 103.6};
  selection = *select_at_budget(with_room, {{true, 0}});
  fill(with_room, selection);
  EXPECT_EQ(selection.counts, (Counts{7}));
  EXPECT_TRUE(is_maximal(with_room, selection.counts));
}

TEST(Choose, LeavesAWholeLayerDenseWhereThatLosesLess) {
  // Pruning the second layer at all needs half of its units gone; the first gives the same joules for nothing of value.
  const std::vector<float> worthless(100, 0.001f), precious(100, 1.0f);
  AffineJoules joules({{0, 2, 100}, {0, 2, 100}});
  Problem problem{{layer_of(worthless, joules, 0), layer_of(precious, joules, 1)}, &joules, 120};
  const auto selection = choose(problem, {true, true});
  ASSERT_TRUE(selection);
  EXPECT_EQ(selection->counts, (Counts{10, kDense}));
}

/// Least importance lost over all choices cannot be below this: the best over all prices of a relaxed problem, price x
/// budget less.
double dual_bound(const std::vector<std::vector<float>>& sorted, AffineJoules& joules, double budget_j) {
  double best = 0;
  for (double price = 1e-4; price < 1e3; price *= 1.02) {
    double bound = -price * budget_j;
    for (size_t i = 0; i < sorted.size(); ++i) {
      double least = price * joules.dense(i), lost = 0;
      for (int64_t kept = static_cast<int64_t>(sorted[i].size()); kept >= 0; --kept) {
        least = std::min(least, lost + price * joules.pruned(i, kept));
        if (kept > 0) lost += static_cast<double>(sorted[i][static_cast<size_t>(kept - 1)]);
      }
      bound += least;
    }
    best = std::max(best, bound);
  }
  return best;
}

TEST(Choose, NearTheDualBoundOnManyLayers) {
  constexpr size_t kLayers = 30, kUnits = 2000;
  std::vector<std::vector<float>> scores(kLayers, std::vector<float>(kUnits));
  std::vector<AffineJoules::Line> lines;
  uint32_t state = 1;
  const auto next = [&state] { return static_cast<double>((state = state * 1664525u + 1013904223u) >> 8) * 0x1p-24; };
  double dense_j = 0;
  for (size_t i = 0; i < kLayers; ++i) {
    const double scale = 0.2 + next();
    for (float& score : scores[i]) score = static_cast<float>(scale * std::pow(next(), 3));
    const double per = 0.5 + next();
    lines.push_back({20 * next(), per * (2 + next()), per * kUnits});
    dense_j += lines.back().dense;
  }
  AffineJoules joules(lines);
  std::vector<std::vector<float>> sorted = scores;
  for (std::vector<float>& each : sorted) std::sort(each.begin(), each.end(), std::greater<>());
  for (const double share : {0.9, 0.7, 0.5, 0.3, 0.1}) {
    Problem problem{{}, &joules, share * dense_j};
    for (size_t i = 0; i < kLayers; ++i) problem.layers.push_back(layer_of(scores[i], joules, i));
    const auto selection = choose(problem, std::vector<bool>(kLayers, true));
    ASSERT_TRUE(selection);
    const double bound = dual_bound(sorted, joules, problem.budget_j);
    EXPECT_LE(selection->energy_j, problem.budget_j);
    EXPECT_GE(selection->lost, bound * (1 - 1e-9));
    EXPECT_LE(selection->lost, bound * 1.02) << share;
    RecordProperty("gap_at_" + std::to_string(static_cast<int>(share * 100)),
                   std::to_string(selection->lost / bound - 1));
  }
}

TEST(Choose, NothingToDoAndNothingPossible) {
  const std::vector<float> scores(4, 1.0f);
  AffineJoules joules({{1, 1, 4}});
  Problem problem{{layer_of(scores, joules, 0)}, &joules, 4};
  EXPECT_EQ(choose(problem, {true})->counts, (Counts{kDense}));
  problem.budget_j = 3.5;
  EXPECT_FALSE(choose(problem, {false}));
  EXPECT_EQ(choose(problem, {true})->counts, (Counts{2}));
  problem.budget_j = 0.5;
  EXPECT_FALSE(choose(problem, {true}));
}

}  // namespace
}  // namespace jouleprune::select
