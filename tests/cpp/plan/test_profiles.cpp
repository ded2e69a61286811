// The planner on the built-in profiles: its energy is estimate()'s, bit for bit, and its promises hold on real curves.
#include <gtest/gtest.h>
#include <jouleprune/energy.h>

#include "curves.h"
#include "energy/profile_data.h"
#include "networks.h"

namespace jouleprune::plan::testing {
namespace {

struct Prepared {
  Planner planner;
  std::vector<std::vector<float>> scores;
  std::vector<std::span<const float>> importance() const { return {scores.begin(), scores.end()}; }
};

Prepared prepared(const Workload& workload, const Profile& profile) {
  Request request{workload, profile, "unstructured", "test", {}};
  std::vector<std::vector<float>> scores;
  Draw draw(11);
  for (const Entry& entry : workload.entries) {
    if (entry.weight.empty()) continue;
    request.weights.push_back({entry.weight, 0});
    scores.push_back(draw_scores(draw, Scores::kSpread, entry.weight_elements));
  }
  return {Planner(std::move(request)), std::move(scores)};
}

class Profiles : public ::testing::TestWithParam<std::string> {};

TEST_P(Profiles, EnergyIsTheEstimateOfThePlansWorkload) {
  const Profile profile = energy::load_profile(GetParam());
  for (const Workload& workload : {mlp_workload(1), mlp_workload(64), lenet_workload(1), lenet_workload(8)}) {
    const Prepared made = prepared(workload, profile);
    const Planner& planner = made.planner;
    EXPECT_EQ(planner.dense_j(), estimate(planner.dense_plan().workload, profile).energy_j);
    EXPECT_EQ(planner.dense_j(), estimate(workload, profile).energy_j);
    for (const double share : {0.0, 0.01, 0.1, 0.3, 0.6, 0.95}) {
      const double budget_j = planner.minimum_j() + share * (planner.dense_j() - planner.minimum_j());
      const Plan plan = planner.select(made.importance(), budget_j).plan;
      EXPECT_EQ(plan.energy_j, estimate(plan.workload, profile).energy_j);
      EXPECT_LE(plan.energy_j, plan.budget_j);
      EXPECT_TRUE(plan.energy_j > 0.99 * plan.budget_j || plan.maximal);
      if (!plan.maximal) continue;
      for (const LayerPlan& layer : plan.layers) {
        if (layer.kept == layer.units) continue;
        Workload more = plan.workload;
        for (Entry& entry : more.entries) entry.nnz += entry.weight == layer.weight;
        EXPECT_GT(estimate(more, profile).energy_j, plan.budget_j) << layer.name;
      }
    }
  }
}

TEST_P(Profiles, ParsedPlansPriceTheSame) {
  const Profile profile = energy::load_profile(GetParam());
  const Prepared made = prepared(lenet_workload(1), profile);
  const double budget_j = (made.planner.minimum_j() + made.planner.dense_j()) / 2;
  const Plan plan = made.planner.select(made.importance(), budget_j).plan;
  EXPECT_EQ(estimate(Plan::parse(plan.to_json()).workload, profile).energy_j, plan.energy_j);
}

INSTANTIATE_TEST_SUITE_P(BuiltIn, Profiles,
                         ::testing::Values("eyeriss-65nm", "horowitz-45nm", "generic-cpu", "generic-gpu-hbm"),
                         [](const auto& tested) {
                           std::string name = tested.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace jouleprune::plan::testing
