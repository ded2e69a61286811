// Budgets of bytes and multiply-adds: the rule of joules, on sums that anybody can recount.
#include <gtest/gtest.h>

#include "curves.h"
#include "energy/profile_data.h"
#include "networks.h"
#include "plan/currency.h"

namespace jouleprune::plan::testing {
namespace {

constexpr int64_t kOthers = 1000;

struct Made {
  Request request;
  std::vector<std::vector<float>> scores;
  std::vector<std::span<const float>> importance() const { return {scores.begin(), scores.end()}; }
};

Made made(const Workload& workload, const std::string& prune_for, const std::string& pattern, const char* profile) {
  Made result{Request{workload, energy::load_profile(profile), pattern, "test", {}}, {}};
  result.request.prune_for = prune_for;
  result.request.other_bytes = kOthers;
  Draw draw(7);
  for (const Entry& entry : workload.entries) {
    if (entry.weight.empty()) continue;
    result.request.weights.push_back({entry.weight, 0.01});  // no budget is 0
    result.scores.push_back(draw_scores(draw, Scores::kSpread, entry.weight_elements));
  }
  return result;
}

double recounted_macs(const Plan& plan) {
  double sum = 0;
  for (const Entry& entry : plan.workload.entries) {
    double density = 1;
    for (const LayerPlan& layer : plan.layers) density = layer.weight == entry.weight ? layer.density : density;
    sum += static_cast<double>(entry.macs) * density;
  }
  return sum;
}

/// Of layouts without padding.
double recounted_bytes(const Plan& plan) {
  double sum = kOthers;
  for (const LayerPlan& layer : plan.layers) {
    double weights = 0, rows = 0;
    for (const Entry& entry : plan.workload.entries) {
      if (entry.weight == layer.weight) weights = static_cast<double>(entry.weight_elements), rows = static_cast<double>(entry.shape[0]);
    }
    const double kept = std::round(layer.density * weights);
    if (layer.layout == "dense") sum += weights * 4;
    if (layer.layout == "bitmap") sum += kept * 4 + std::ceil(weights / 8);
    if (layer.layout == "csr") sum += kept * 8 + 4 * (rows + 1) + 16;
    if (layer.layout == "bsr") sum += static_cast<double>(layer.kept) * (16 * 4 + 4) + 4 * (std::ceil(rows / 16) + 1) + 16;
  }
  return sum;
}

class Currencies : public ::testing::TestWithParam<std::tuple<std::string, std::string, const char*>> {};

TEST_P(Currencies, TheRuleHolds) {
  const auto& [prune_for, pattern, profile] = GetParam();
  for (const Workload& workload : {mlp_workload(4), lenet_workload(2)}) {
    const Made network = made(workload, prune_for, pattern, profile);
    const Planner planner(network.request);
    const bool bytes = prune_for == "bytes";
    EXPECT_EQ(planner.dense(), bytes ? recounted_bytes(planner.dense_plan()) : recounted_macs(planner.dense_plan()));
    EXPECT_EQ(planner.dense_j(), estimate(workload, network.request.profile).energy_j);
    for (const double share : {0.0, 0.02, 0.3, 0.9}) {
      const double budget = planner.minimum_j() + share * (planner.dense() - planner.minimum_j());
      const Plan plan = planner.select(network.importance(), budget).plan;
      ASSERT_TRUE(plan.amounts.has_value());
      EXPECT_LE(plan.amounts->used, budget);
      EXPECT_TRUE(plan.amounts->used > 0.99 * budget || plan.maximal);
      EXPECT_NEAR(plan.amounts->used, bytes ? recounted_bytes(plan) : recounted_macs(plan), 1e-9 * planner.dense());
      if (bytes) {
        EXPECT_EQ(plan.amounts->used, plan.stored_bytes);
      }
      EXPECT_EQ(plan.energy_j, estimate(plan.workload, network.request.profile).energy_j);
      EXPECT_EQ(Plan::parse(plan.to_json()).to_json(), plan.to_json());
      if (plan.maximal && plan.next_unit) {
        EXPECT_GT(plan.amounts->used + *plan.amounts->next, budget);
      }
    }
    EXPECT_THROW(planner.select(network.importance(), planner.minimum_j() * 0.99), core::BudgetError);
    EXPECT_THROW(planner.select(network.importance(), planner.dense() + 1), core::BudgetError);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Currencies,
                         ::testing::Combine(::testing::Values("bytes", "macs"), ::testing::Values("unstructured", "16x1", "2:4"),
                                            ::testing::Values("generic-cpu", "eyeriss-65nm")));

/// 4 x 8 float32: 128 bytes dense; k kept values and 4 bytes of bits take 4 k + 4.
TEST(CurrenciesByHand, BytesOfOneLayer) {
  Workload workload;
  workload.entries = {linear_entry("a", 4, 8, 1)};
  Made network = made(workload, "bytes", "unstructured", "generic-cpu");
  network.request.other_bytes = 10;
  const Planner planner(network.request);
  EXPECT_EQ(planner.dense(), 138);
  EXPECT_EQ(planner.minimum_j(), 18);  // a floor of 1 % is one weight
  for (const int kept : {1, 2, 7, 30}) {
    for (const int spare : {0, 3}) {
      const Result result = planner.select(network.importance(), 14 + 4 * kept + spare);
      EXPECT_EQ(result.plan.layers[0].kept, kept);
      EXPECT_EQ(result.plan.layers[0].layout, "bitmap");
      EXPECT_EQ(result.plan.amounts->used, 14 + 4 * kept);
      EXPECT_EQ(result.plan.amounts->slack, spare);
      EXPECT_TRUE(result.plan.maximal);
    }
  }
  network.request.weights[0].copies = 3;  // tied: stored under three names
  EXPECT_EQ(Planner(network.request).dense(), 10 + 3 * 128);
}

TEST(CurrenciesByHand, WordsAndSizesAreChecked) {
  Workload workload;
  workload.entries = {linear_entry("a", 4, 8, 1)};
  Made network = made(workload, "watts", "unstructured", "generic-cpu");
  EXPECT_THROW(Planner{network.request}, std::invalid_argument);
  network.request.prune_for = "bytes";
  network.request.other_bytes.reset();
  EXPECT_THROW(Planner{network.request}, std::invalid_argument);
  network.request.other_bytes = 0;
  network.request.weights[0].copies = 0;
  EXPECT_THROW(Planner{network.request}, std::invalid_argument);
  EXPECT_EQ(amount_text(Currency::kBytes, 1234), "1.23 kB");
  EXPECT_EQ(amount_text(Currency::kMacs, 12), "12 multiply-adds");
  EXPECT_EQ(amount_text(Currency::kMacs, 2.5e6), "2.5 M multiply-adds");
}

}  // namespace
}  // namespace jouleprune::plan::testing
