#include "plan/planner.h"

#include <gtest/gtest.h>

#include <limits>
#include <thread>

#include "curves.h"

namespace jouleprune::plan::testing {
namespace {

Curve line(double base, double slope) {
  return [=](int64_t kept) { return base + slope * static_cast<double>(kept); };
}

std::vector<float> rising(size_t units) {
  std::vector<float> scores(units);
  for (size_t i = 0; i < units; ++i) scores[i] = static_cast<float>(i + 1);
  return scores;
}

/// One layer of 100 weights on a CPU-like device: dense 100 J, sparse 10 + 2 per weight; 2 J of other ops.
Case one_layer() {
  Case made;
  made.layers = {{100, {line(10, 2)}}};
  made.scores = {rising(100)};
  made.floors = {0};
  made.calls = {1};
  return made;
}

template <typename Function>
core::BudgetError budget_error(Function function) {
  try {
    function();
  } catch (const core::BudgetError& error) {
    return error;
  }
  ADD_FAILURE() << "no BudgetError";
  return core::BudgetError("", 0);
}

TEST(Planner, OneLayer) {
  const Case made = one_layer();
  const Planner planner = made.planner();
  EXPECT_EQ(planner.dense_j(), 102);
  EXPECT_EQ(planner.minimum_j(), 12);
  const Result result = planner.select(made.importance(), 51);
  const LayerPlan& layer = result.plan.layers[0];
  EXPECT_EQ(layer.kept, 19);  // 2 + 10 + 2 x 19 = 50
  EXPECT_EQ(result.plan.energy_j, 50);
  EXPECT_EQ(result.plan.slack_j, 1);
  EXPECT_TRUE(result.plan.maximal);
  EXPECT_EQ(result.plan.next_unit->weight, "w0");
  EXPECT_EQ(result.plan.next_unit->index, 80);
  EXPECT_EQ(result.plan.next_unit->energy_j, 2);
  EXPECT_EQ(layer.kernel, "sparse0");
  EXPECT_EQ(layer.layout, "csr");
  EXPECT_EQ(layer.density, 0.19);
  EXPECT_EQ(layer.importance_lost, 81 * 82 / 2);
  EXPECT_EQ(layer.reason, "kept 19 of 100: 48 J instead of 100 J; the next weight would add 2 J");
  EXPECT_EQ(result.plan.workload.entries[1].nnz, 19);
  EXPECT_EQ(result.plan.workload.entries[1].kernel, "sparse0");
  EXPECT_EQ(result.plan.workload.entries[1].pattern, "unstructured");
  EXPECT_EQ(result.plan.tuning.size(), 32u);
}

TEST(Planner, TheWholeBudgetPrunesNothing) {
  const Case made = one_layer();
  const Result result = made.planner().select(made.importance(), 102);
  EXPECT_TRUE(result.masks[0].empty());
  EXPECT_EQ(result.plan.energy_j, 102);
  EXPECT_TRUE(result.plan.maximal);
  EXPECT_FALSE(result.plan.next_unit.has_value());
  EXPECT_EQ(result.plan.layers[0].reason, "dense: sparse0 would need a density below 0.45 to win on synthetic");
}

TEST(Planner, TheCheapestKernelAtEachCount) {
  Case made = one_layer();
  made.layers[0].sparse = {line(1, 3), line(31, 1)};  // they cross at 15 weights
  const Planner planner = made.planner();
  EXPECT_EQ(planner.minimum_j(), 3);
  EXPECT_EQ(planner.select(made.importance(), 30).plan.layers[0].kernel, "sparse0");
  const Result result = planner.select(made.importance(), 60);
  EXPECT_EQ(result.plan.layers[0].kernel, "sparse1");
  EXPECT_EQ(result.plan.layers[0].kept, 27);
}

TEST(Planner, SharedWeightsCountOncePerCall) {
  Case made = one_layer();
  made.calls = {3};
  const Planner planner = made.planner();
  EXPECT_EQ(planner.dense_j(), 304);
  EXPECT_EQ(planner.minimum_j(), 34);
  const Result result = planner.select(made.importance(), 100);
  EXPECT_EQ(result.plan.layers[0].kept, 11);  // 4 + 3 (10 + 2 x 11) = 100
  EXPECT_EQ(result.plan.energy_j, 100);
  int priced_sparse = 0;
  for (const Entry& entry : result.plan.workload.entries) priced_sparse += entry.kernel == "sparse0" && entry.nnz == 11;
  EXPECT_EQ(priced_sparse, 3);
}

TEST(Planner, FloorsRaiseTheMinimum) {
  Case made = one_layer();
  made.floors = {0.101};
  EXPECT_EQ(made.planner().minimum_j(), 2 + 10 + 2 * 11);
  made.floors = {0.1};
  EXPECT_EQ(made.planner().minimum_j(), 2 + 10 + 2 * 10);
  made.floors = {0.9};  // sparse never wins
  EXPECT_EQ(made.planner().minimum_j(), 102);
  EXPECT_EQ(made.planner().dense_plan().layers[0].reason,
            "dense: even at a density of 0.9 sparse0 saves nothing on synthetic");
  made.floors = {1};
  EXPECT_EQ(made.planner().dense_plan().layers[0].reason, "dense: min_density keeps all 100 weights");
}

TEST(Planner, RefusesBudgetsAndSaysWhatIsPossible) {
  const Case made = one_layer();
  const Planner planner = made.planner();
  const core::BudgetError low = budget_error([&] { planner.select(made.importance(), 11.9); });
  EXPECT_EQ(low.minimum_j, 12);
  for (const char* part : {"11.9", "12 J", "synthetic", "minimum", "min_density"}) {
    EXPECT_NE(std::string(low.what()).find(part), std::string::npos) << low.what();
  }
  EXPECT_TRUE(std::isnan(budget_error([&] { planner.select(made.importance(), 103); }).minimum_j));
  for (const double bad : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    EXPECT_TRUE(std::isnan(budget_error([&] { planner.select(made.importance(), bad); }).minimum_j));
  }
  const std::vector<bool> none{false};
  EXPECT_EQ(budget_error([&] { planner.select(made.importance(), 50, &none); }).minimum_j, 102);
  EXPECT_EQ(budget_error([&] { planner.select_relaxed(made.importance(), 50, none); }).minimum_j, 102);
}

TEST(Planner, NothingPrunable) {
  Case made = one_layer();
  Request request = made.planner().request();
  request.weights.clear();
  const Planner planner(request, std::make_shared<CurvePricer>(made.layers, false));
  EXPECT_EQ(planner.dense_j(), 102);
  EXPECT_EQ(planner.minimum_j(), 102);
  EXPECT_EQ(budget_error([&] { planner.select({}, 101); }).minimum_j, 102);
  const Result result = planner.select({}, 102);
  EXPECT_TRUE(result.plan.layers.empty());
  EXPECT_TRUE(result.plan.maximal);
}

TEST(Planner, RefusesBadRequests) {
  const Case made = one_layer();
  const Request good = made.planner().request();
  const auto pricer = std::make_shared<CurvePricer>(made.layers, false);
  const auto with = [&](auto change) {
    Request request = good;
    change(request);
    Planner(request, pricer);
  };
  EXPECT_THROW(with([](Request& r) { r.pattern = "2 of 4"; }), core::PatternError);
  EXPECT_THROW(with([](Request& r) { r.weights[0].name = "other"; }), std::invalid_argument);
  EXPECT_THROW(with([](Request& r) { r.weights[0].name = ""; }), std::invalid_argument);
  EXPECT_THROW(with([](Request& r) { r.weights.push_back(r.weights[0]); }), std::invalid_argument);
  EXPECT_THROW(with([](Request& r) { r.weights[0].min_density = 1.1; }), std::invalid_argument);
  EXPECT_THROW(with([](Request& r) { r.weights[0].min_density = std::nan(""); }), std::invalid_argument);
  EXPECT_THROW(with([](Request& r) { r.workload.count = 0; }), std::invalid_argument);
  EXPECT_THROW(with([](Request& r) {
                 r.workload.entries.push_back(r.workload.entries[1]);
                 r.workload.entries.back().weight_elements = 7;
               }),
               std::invalid_argument);
}

TEST(Planner, RefusesBadScores) {
  Case made = one_layer();
  const Planner planner = made.planner();
  EXPECT_THROW(planner.select({}, 50), std::invalid_argument);
  for (const float bad : {-1.0f, std::nanf(""), std::numeric_limits<float>::infinity()}) {
    made.scores[0][42] = bad;
    try {
      planner.select(made.importance(), 50);
      FAIL();
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find("w0"), std::string::npos);
      EXPECT_NE(std::string(error.what()).find("42"), std::string::npos);
    }
  }
  made.scores[0].pop_back();
  EXPECT_THROW(planner.select(made.importance(), 50), std::invalid_argument);
  const std::vector<bool> flags(3, true);
  made = one_layer();
  EXPECT_THROW(planner.select(made.importance(), 50, &flags), std::invalid_argument);
}

TEST(Planner, StepsOfAScheduleFollowTheHull) {
  const Case made = one_layer();
  const Planner planner = made.planner();
  const std::vector<bool> frozen{true};
  // Hull from (0, 10) to (100, 100): 0.9 J per weight. Above 44 weights the sparse kernel loses, so the layer runs
  // dense.
  const Result early = planner.select_relaxed(made.importance(), 2 + 10 + 0.9 * 70, frozen);
  EXPECT_EQ(early.plan.layers[0].kept, 70);
  EXPECT_EQ(early.plan.layers[0].kernel, "dense");
  EXPECT_EQ(early.plan.layers[0].pattern, "unstructured");
  EXPECT_EQ(early.plan.energy_j, 102);
  EXPECT_LT(early.plan.slack_j, 0);
  EXPECT_EQ(early.plan.layers[0].reason, "kept 70 of 100 for now: runs dense until its density is below 0.45");
  const Result late = planner.select_relaxed(made.importance(), 2 + 10 + 0.9 * 30.5, frozen);
  EXPECT_EQ(late.plan.layers[0].kept, 30);
  EXPECT_EQ(late.plan.layers[0].kernel, "sparse0");
  EXPECT_EQ(late.plan.energy_j, 72);
  EXPECT_EQ(planner.select_relaxed(made.importance(), 102, frozen).plan.layers[0].kept, 100);
  EXPECT_EQ(planner.select_relaxed(made.importance(), 12, frozen).plan.layers[0].kept, 0);
}

TEST(Planner, StepsDoNotReviveWeightsOfNoImportance) {
  Case made = one_layer();
  for (size_t i = 0; i < 60; ++i) made.scores[0][i] = 0;  // as removed by an earlier step
  const Result step = made.planner().select_relaxed(made.importance(), 2 + 10 + 0.9 * 70, {true});
  EXPECT_EQ(step.plan.layers[0].kept, 40);
}

TEST(Planner, WhereZerosSaveDenseIsTheEndOfTheCurve) {
  Case made = one_layer();
  made.zeros_save = true;
  made.layers[0] = {110, {line(10, 1)}};
  const Planner planner = made.planner();
  EXPECT_EQ(planner.dense_j(), 112);
  const Result result = planner.select(made.importance(), 111.5);
  EXPECT_EQ(result.plan.layers[0].kept, 99);
  EXPECT_EQ(planner.select(made.importance(), 112).plan.layers[0].reason,
            "dense: the budget is met without removing any of its weights");
}

TEST(Planner, CountDividesTheJoules) {
  Case made = one_layer();
  Request request = made.planner().request();
  request.workload.count = 4;
  const Planner planner(request, std::make_shared<CurvePricer>(made.layers, false));
  EXPECT_EQ(planner.dense_j(), 102.0 / 4);
  EXPECT_EQ(planner.select(made.importance(), 51.0 / 4).plan.layers[0].kept, 19);
}

TEST(Planner, ManyThreadsMayAskOnePlanner) {
  const Case made = one_layer();
  const Planner planner = made.planner();
  const MaskBits expected = planner.select(made.importance(), 51).masks[0];
  std::vector<std::thread> threads;
  std::vector<int> wrong(8, 0);
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) wrong[t] += planner.select(made.importance(), 51).masks[0] != expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int count : wrong) EXPECT_EQ(count, 0);
}

}  // namespace
}  // namespace jouleprune::plan::testing
