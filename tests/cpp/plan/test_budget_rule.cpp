// The promise on thousands of random networks: within the budget, and above 99 % of it or maximal; the same masks each
// time.
#include <gtest/gtest.h>

#include <bit>

#include "curves.h"
#include "effort.h"

namespace jouleprune::plan::testing {
namespace {

int64_t bits_set(const MaskBits& bits) {
  int64_t set = 0;
  for (const uint8_t byte : bits) set += std::popcount(byte);
  return set;
}

/// Joules of the plan's workload, added up here.
double priced(const Case& made, const Workload& workload) {
  const CurvePricer pricer(made.layers, made.zeros_save);
  double sum = 0;
  for (const Entry& entry : workload.entries) sum += pricer.joules(entry, workload.count);
  return sum;
}

void expect_consistent(const Case& made, const Result& result) {
  const Plan& plan = result.plan;
  ASSERT_EQ(plan.layers.size(), made.layers.size());
  ASSERT_EQ(plan.decided.size(), made.layers.size());
  ASSERT_EQ(plan.energy_j, priced(made, plan.workload));
  for (size_t i = 0; i < plan.layers.size(); ++i) {
    const LayerPlan& layer = plan.layers[i];
    const std::vector<float>& scores = made.scores[i];
    EXPECT_EQ(plan.decided[i], !result.masks[i].empty());
    EXPECT_EQ(layer.pattern == "dense", result.masks[i].empty());
    EXPECT_GE(layer.kept, static_cast<int64_t>(std::ceil(made.floors[i] * static_cast<double>(scores.size()) - 1e-9)));
    EXPECT_FALSE(layer.reason.empty());
    if (result.masks[i].empty()) {
      EXPECT_EQ(layer.kept, layer.units);
      EXPECT_EQ(layer.importance_lost, 0);
      continue;
    }
    ASSERT_EQ(result.masks[i].size(), (scores.size() + 7) / 8);
    EXPECT_EQ(bits_set(result.masks[i]), layer.kept);
    // What stays is at least as important as what goes, and earlier where they tie.
    size_t least_kept = scores.size(), most_removed = scores.size();
    double lost = 0;
    for (size_t u = 0; u < scores.size(); ++u) {
      const bool kept = (result.masks[i][u / 8] >> (u % 8)) & 1;
      if (kept && (least_kept == scores.size() || scores[u] <= scores[least_kept])) least_kept = u;
      if (!kept && (most_removed == scores.size() || scores[u] > scores[most_removed])) most_removed = u;
      if (!kept) lost += static_cast<double>(scores[u]);
    }
    EXPECT_NEAR(layer.importance_lost, lost, 1e-6 * (1 + lost));
    if (least_kept == scores.size() || most_removed == scores.size()) continue;
    EXPECT_GE(scores[least_kept], scores[most_removed]);
    if (scores[least_kept] == scores[most_removed]) {
      EXPECT_LT(least_kept, most_removed);
    }
  }
}

/// Tries to put one more unit into each pruned layer, its kernel as it is.
bool one_more_fits(const Case& made, const Plan& plan) {
  for (const LayerPlan& layer : plan.layers) {
    if (layer.pattern == "dense" || layer.kept == layer.units) continue;
    Workload more = plan.workload;
    for (Entry& entry : more.entries) entry.nnz += entry.weight == layer.weight;
    if (priced(made, more) <= plan.budget_j) return true;
  }
  return false;
}

class BudgetRule : public ::testing::TestWithParam<Form> {};

TEST_P(BudgetRule, HoldsOnRandomNetworks) {
  Draw draw(1000 + static_cast<uint64_t>(GetParam()));
  int pruned = 0, maximal = 0;
  const int cases = jouleprune::test::random_cases(800);
  for (int c = 0; c < cases; ++c) {
    const Case made = draw_case(draw, GetParam(), 5, c % 4 == 0 ? 700 : 40);
    const Planner planner = made.planner();
    ASSERT_LE(planner.minimum_j(), planner.dense_j());
    const double share = c % 10 == 0 ? 0 : c % 10 == 1 ? 1 : draw.real();
    const double budget_j = planner.minimum_j() + share * (planner.dense_j() - planner.minimum_j());
    const Result result = planner.select(made.importance(), std::min(budget_j, planner.dense_j()));
    expect_consistent(made, result);
    const Plan& plan = result.plan;
    ASSERT_LE(plan.energy_j, plan.budget_j);
    EXPECT_EQ(plan.slack_j, plan.budget_j - plan.energy_j);
    EXPECT_TRUE(plan.energy_j > 0.99 * plan.budget_j || plan.maximal);
    if (plan.maximal) {
      EXPECT_FALSE(one_more_fits(made, plan));
    }
    int64_t removed = 0;
    for (const LayerPlan& layer : plan.layers) removed += layer.units - layer.kept;
    EXPECT_EQ(plan.next_unit.has_value(), removed > 0);
    pruned += removed > 0;
    maximal += plan.maximal;
    const Result again = made.planner().select(made.importance(), std::min(budget_j, planner.dense_j()));
    ASSERT_EQ(again.masks, result.masks);
    ASSERT_EQ(again.plan.energy_j, plan.energy_j);
  }
  EXPECT_GT(maximal, 0);
  if (GetParam() != Form::kFlat) {
    EXPECT_GT(pruned, cases / 4);
  }
}

TEST_P(BudgetRule, FrozenLayersStayAsTheyWere) {
  Draw draw(2000 + static_cast<uint64_t>(GetParam()));
  for (int c = 0; c < 200; ++c) {
    Case made = draw_case(draw, GetParam(), 5, 60);
    const Planner planner = made.planner();
    const double budget_j = planner.minimum_j() + draw.real() * (planner.dense_j() - planner.minimum_j());
    const std::vector<bool> decided = planner.select(made.importance(), budget_j).plan.decided;
    for (std::vector<float>& scores :
         made.scores) {  // other scores, as after more training: the decision still reaches the budget
      for (float& score : scores) score = static_cast<float>(draw.real());
    }
    const Result later = planner.select(made.importance(), budget_j, &decided);
    expect_consistent(made, later);
    ASSERT_LE(later.plan.energy_j, budget_j);
    for (size_t i = 0; i < decided.size(); ++i) {
      EXPECT_TRUE(decided[i] || !later.plan.decided[i]);
    }
    double before = planner.dense_j() * 2;
    for (const double share : {1.0, 0.7, 0.4, 0.1, 0.0}) {
      const double target_j = budget_j + share * (planner.dense_j() - budget_j);
      const Result step = planner.select_relaxed(made.importance(), target_j, decided);
      expect_consistent(made, step);
      EXPECT_LE(step.plan.energy_j, before * (1 + 1e-12));
      if (made.zeros_save) {
        EXPECT_LE(step.plan.energy_j, target_j);
      }
      before = step.plan.energy_j;
      for (size_t i = 0; i < decided.size(); ++i) {
        EXPECT_TRUE(decided[i] || step.masks[i].empty());
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, BudgetRule,
                         ::testing::Values(Form::kAffine, Form::kConvex, Form::kConcave, Form::kStepped, Form::kFlat));

}  // namespace
}  // namespace jouleprune::plan::testing
