// Against every choice of dense layers and kept counts on small networks.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <iostream>
#include <optional>

#include "curves.h"

namespace jouleprune::plan::testing {
namespace {

int64_t floor_of(const Case& made, size_t i) {
  return static_cast<int64_t>(std::ceil(made.floors[i] * static_cast<double>(made.scores[i].size())));
}

/// Least importance lost within the budget over all combinations; nothing when none fits.
class BruteForce {
 public:
  BruteForce(const Case& made, double budget_j) : made_(made), budget_j_(budget_j) {
    for (std::vector<float> scores : made.scores) {
      std::sort(scores.begin(), scores.end(), std::greater<>());
      sorted_.push_back(scores);
    }
    visit(0, 1.0, 0.0);
  }
  std::optional<double> least() const { return best_; }

 private:
  void visit(size_t layer, double joules, double lost) {
    if (best_ && lost >= *best_) return;
    if (joules > budget_j_ * (1 + 1e-12)) return;  // the order of the sum differs from the planner's
    if (layer == made_.layers.size()) {
      best_ = lost;
      return;
    }
    const double calls = made_.calls[layer];
    visit(layer + 1, joules + calls * (made_.layers[layer].dense_j + 1), lost);
    double removed = 0;
    for (int64_t kept = static_cast<int64_t>(sorted_[layer].size());; --kept) {
      for (const Curve& curve : made_.layers[layer].sparse)
        visit(layer + 1, joules + calls * (curve(kept) + 1), lost + removed);
      if (kept == floor_of(made_, layer)) break;
      removed += static_cast<double>(sorted_[layer][static_cast<size_t>(kept - 1)]);
    }
  }

  const Case& made_;
  double budget_j_;
  std::vector<std::vector<float>> sorted_;
  std::optional<double> best_;
};

double lost_by(const Case& made, const Result& result) {
  double lost = 0;
  for (size_t i = 0; i < made.scores.size(); ++i) {
    if (result.masks[i].empty()) continue;
    for (size_t u = 0; u < made.scores[i].size(); ++u) {
      if (((result.masks[i][u / 8] >> (u % 8)) & 1) == 0) lost += static_cast<double>(made.scores[i][u]);
    }
  }
  return lost;
}

/// Importance lost above the optimum, as shares of all importance, over `cases` networks.
std::vector<double> gaps(Form form, bool priced_dense, uint64_t seed, int cases) {
  Draw draw(seed);
  std::vector<double> found;
  for (int c = 0; c < cases; ++c) {
    Case made = draw_case(draw, form, 4, 6);
    if (!priced_dense) {
      made.zeros_save = true;
      for (size_t i = 0; i < made.layers.size(); ++i) {
        made.layers[i].sparse.resize(1);
        made.layers[i].dense_j = made.layers[i].sparse[0](static_cast<int64_t>(made.scores[i].size()));
      }
    }
    const Planner planner = made.planner();
    const double budget_j = planner.minimum_j() + draw.real() * (planner.dense_j() - planner.minimum_j());
    const Result result = planner.select(made.importance(), budget_j);
    EXPECT_LE(result.plan.energy_j, budget_j);
    const auto least = BruteForce(made, budget_j).least();
    EXPECT_TRUE(least.has_value());
    double all = 0, largest = 0;
    for (const auto& scores : made.scores) {
      for (const float score : scores) {
        all += static_cast<double>(score);
        largest = std::max(largest, static_cast<double>(score));
      }
    }
    const double lost = lost_by(made, result);
    EXPECT_GE(lost, *least - 1e-9);
    // Convex curves without a jump to dense: the threshold is the greedy solution of a fractional knapsack, which loses
    // at most one unit more than the optimum.
    if (!priced_dense && (form == Form::kConvex || form == Form::kAffine)) {
      EXPECT_LE(lost, *least + largest + 1e-6);
    }
    found.push_back(all > 0 ? (lost - *least) / all : 0);
  }
  std::sort(found.begin(), found.end());
  return found;
}

class BruteForceTest : public ::testing::TestWithParam<Form> {};

TEST_P(BruteForceTest, CloseToTheOptimum) {
  for (const bool priced_dense : {false, true}) {
    const std::vector<double> found = gaps(GetParam(), priced_dense, 7 + static_cast<uint64_t>(GetParam()), 300);
    const auto at = [&](double share) {
      return found[static_cast<size_t>(share * static_cast<double>(found.size() - 1))];
    };
    std::cout << "gap to the optimum, share of all importance: median " << at(0.5) << ", 90 % " << at(0.9) << ", worst "
              << at(1) << "\n";
    EXPECT_LE(at(0.5), 0.005);
    EXPECT_LE(at(0.9), 0.05);
    EXPECT_LE(at(1), 0.25);
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, BruteForceTest,
                         ::testing::Values(Form::kAffine, Form::kConvex, Form::kConcave, Form::kStepped, Form::kFlat));

TEST(BruteForce, InfeasibleWhereThePlannerIs) {
  Draw draw(99);
  for (int c = 0; c < 300; ++c) {
    const Case made = draw_case(draw, static_cast<Form>(c % 5), 4, 6);
    const Planner planner = made.planner();
    EXPECT_FALSE(BruteForce(made, planner.minimum_j() * (1 - 1e-9)).least().has_value());
    EXPECT_TRUE(BruteForce(made, planner.minimum_j()).least().has_value());
    EXPECT_THROW(planner.select(made.importance(), planner.minimum_j() * (1 - 1e-9)), core::BudgetError);
    EXPECT_LE(planner.select(made.importance(), planner.minimum_j()).plan.energy_j, planner.minimum_j());
  }
}

}  // namespace
}  // namespace jouleprune::plan::testing
