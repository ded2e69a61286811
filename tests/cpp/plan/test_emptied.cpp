// Layers that keep next to nothing.
#include <gtest/gtest.h>
#include <jouleprune/plan.h>

#include "networks.h"
#include "plan/emptied.h"

namespace jouleprune::plan::testing {
namespace {

TEST(Emptied, FewerThanOneWeightForTenOutputs) {
  EXPECT_TRUE(passes_next_to_nothing(0, 1));
  EXPECT_TRUE(passes_next_to_nothing(12.7, 128));
  EXPECT_FALSE(passes_next_to_nothing(12.8, 128));
  EXPECT_FALSE(passes_next_to_nothing(0, 0));
}

TEST(Emptied, NamesPrunedLayersByTheirFirstCall) {
  Plan plan;
  const auto layer = [&](const std::string& name, const std::string& pattern, double density) {
    plan.workload.entries.push_back(linear_entry(name, 100, 50, 1));
    LayerPlan& made = plan.layers.emplace_back();
    made.name = name, made.weight = name + ".weight", made.pattern = pattern, made.density = density;
  };
  layer("a", "unstructured", 0.0);
  layer("b", "unstructured", 0.0019);  // 9.5 weights for 100 outputs
  layer("c", "16x1", 0.0021);
  layer("d", "dense", 0.0);
  plan.layers.emplace_back().weight = "a weight that no call uses";
  EXPECT_EQ(plan.emptied(), (std::vector<std::string>{"a", "b"}));
}

}  // namespace
}  // namespace jouleprune::plan::testing
