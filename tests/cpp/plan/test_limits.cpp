// Measured times decide from which density on a kernel is not chosen.
#include "plan/limits.h"

#include <gtest/gtest.h>

#include "curves.h"
#include "energy/profile_data.h"
#include "networks.h"

namespace jouleprune::plan::testing {
namespace {

const std::vector<std::string> kWeights = {"1.weight", "3.weight"};

/// The first layer of mlp_workload(64).
TunedCall first_call(double density, int threads = 1) {
  return {"linear", "float32", 128, 784, 64, 1, "", density, threads};
}

void put(TuningTable& table, double density, double dense_s, double csr_s, int threads = 1) {
  table.put(first_call(density, threads), "dense", dense_s);
  table.put(first_call(density, threads), "csr", csr_s);
}

TEST(Limits, FromTheLowestDensityThatLost) {
  TuningTable table("here");
  EXPECT_TRUE(measured_limits(mlp_workload(64), kWeights, table, 1).empty());
  put(table, 0.05, 1e-3, 1e-4);
  EXPECT_TRUE(measured_limits(mlp_workload(64), kWeights, table, 1).empty());
  put(table, 0.3, 1e-3, 9.8e-4);  // faster, but by less than 3 %
  put(table, 0.5, 1e-3, 2e-3);
  const std::vector<MeasuredLimit> limits = measured_limits(mlp_workload(64), kWeights, table, 1);
  ASSERT_EQ(limits.size(), 1u);
  EXPECT_EQ(limits[0].weight, "1.weight");
  EXPECT_EQ(limits[0].kernel, "csr");
  EXPECT_EQ(limits[0].dtype, "float32");
  EXPECT_EQ(limits[0].below, 0.3);
  put(table, 0.4, 1e-3, 5e-4);  // so what lost at 0.3 was noise
  EXPECT_EQ(measured_limits(mlp_workload(64), kWeights, table, 1)[0].below, 0.5);
}

TEST(Limits, OnlyOfLikeCalls) {
  TuningTable table("here");
  put(table, 0.3, 1e-3, 2e-3, /*threads=*/2);
  EXPECT_TRUE(measured_limits(mlp_workload(64), kWeights, table, 1).empty());
  EXPECT_EQ(measured_limits(mlp_workload(64), kWeights, table, 2).size(), 1u);
  EXPECT_TRUE(measured_limits(mlp_workload(32), kWeights, table, 2).empty());
  EXPECT_TRUE(measured_limits(mlp_workload(64), {"3.weight"}, table, 2).empty());
  table.put(first_call(0.3), "torch-int8", 1e-3);  // told beside the others, no kernel of ours
  table.put(first_call(0.3), "dense", 1e-4);
  EXPECT_TRUE(measured_limits(mlp_workload(64), kWeights, table, 1).empty());
  table.put(first_call(0.3), "bsr-int8", 1e-3);
  EXPECT_EQ(measured_limits(mlp_workload(64), kWeights, table, 1).at(0).dtype, "int8");
}

struct Prepared {
  Request request;
  std::vector<std::vector<float>> scores;
  std::vector<std::span<const float>> importance() const { return {scores.begin(), scores.end()}; }
};

Prepared prepared(const std::string& pattern) {
  Prepared made{{mlp_workload(64), energy::load_profile("generic-cpu"), pattern, "test", {}}, {}};
  Draw draw(3);
  for (const std::string& weight : kWeights) made.request.weights.push_back({weight});
  made.scores = {draw_scores(draw, Scores::kSpread, 784 * 128), draw_scores(draw, Scores::kSpread, 1280)};
  return made;
}

TEST(Limits, PlansStayBelowThem) {
  Prepared made = prepared("unstructured");
  const Planner free(made.request);
  const double budget_j = free.minimum_j() + 0.5 * (free.dense_j() - free.minimum_j());
  ASSERT_GT(free.select(made.importance(), budget_j).plan.layers[0].density, 0.25);
  made.request.measured = {{"1.weight", "csr", "float32", 0.25}};
  const Planner limited(made.request);
  EXPECT_EQ(limited.dense_j(), free.dense_j());
  EXPECT_EQ(limited.minimum_j(), free.minimum_j());
  for (const double share : {0.02, 0.1, 0.3, 0.5, 0.9}) {
    const double within_j = free.minimum_j() + share * (free.dense_j() - free.minimum_j());
    const Plan plan = limited.select(made.importance(), within_j).plan;
    EXPECT_LE(plan.energy_j, within_j);
    EXPECT_TRUE(plan.energy_j > 0.99 * within_j || plan.maximal);
    EXPECT_EQ(plan.energy_j, estimate(plan.workload, made.request.profile).energy_j);
    if (plan.layers[0].pattern != "dense") {
      EXPECT_LT(plan.layers[0].density, 0.25);
    }
    EXPECT_NE(plan.tuning, free.select(made.importance(), within_j).plan.tuning);
    EXPECT_EQ(Plan::parse(plan.to_json()).measured.at(0).below, 0.25);
  }
}

TEST(Limits, AnotherKernelGoesOn) {
  Prepared made = prepared("16x1");
  made.request.measured = {{"1.weight", "bsr", "float32", 0.1}};
  const Planner planner(made.request);
  const double budget_j = planner.minimum_j() + 0.4 * (planner.dense_j() - planner.minimum_j());
  const LayerPlan layer = planner.select(made.importance(), budget_j).plan.layers[0];
  EXPECT_GT(layer.density, 0.1);
  EXPECT_EQ(layer.kernel, "csr");
}

TEST(Limits, AKernelThatAlwaysLostIsNotChosen) {
  Prepared made = prepared("unstructured");
  made.request.measured = {{"1.weight", "csr", "float32", 0.0}, {"3.weight", "csr", "float32", 0.0}};
  const Planner planner(made.request);
  EXPECT_EQ(planner.minimum_j(), planner.dense_j());
}

}  // namespace
}  // namespace jouleprune::plan::testing
