// Layers that a plan empties: named in the plan, told once.
#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <jouleprune/prune.h>

#include "prune/networks.h"

namespace jouleprune::tests {
namespace {

struct Heard : c10::WarningHandler {
  std::vector<std::string> messages;
  void process(const c10::Warning& warning) override { messages.push_back(warning.msg()); }
};

/// Of the first layer every weight looks unimportant beside the others.
Network lopsided() {
  auto network = make_mlp();
  const at::NoGradGuard no_grad;
  network.net->parameters()[0].mul_(1e-6);
  return network;
}

PrunerOptions by_magnitude() {
  return {.energy = Budget::percent(30), .profile = Profile::load("eyeriss-65nm"), .importance = "magnitude", .schedule = LinearDecay{.end_step = 3}};
}

TEST(EmptiedLayers, AreNamedAndToldOnce) {
  Heard heard;
  const c10::WarningUtils::WarningHandlerGuard guard(&heard);
  auto network = lopsided();
  Pruner pruner(*network.net, network.forward(), by_magnitude());
  for (int step = 0; step < 5; ++step) pruner.step();
  ASSERT_EQ(pruner.plan().emptied(), std::vector<std::string>{"0"});
  ASSERT_EQ(heard.messages.size(), 1u);
  EXPECT_EQ(heard.messages[0],
            "the plan leaves no weights, or next to none, in 0: nothing passes through them any more; importance = \"magnitude/sum\" makes "
            "its scores comparable between layers; min_density sets a floor per layer");
  std::ostringstream report;
  report << pruner.report();
  EXPECT_NE(report.str().find("emptied, so that nothing passes through: 0\n"), std::string::npos);
  EXPECT_EQ(Plan::parse(pruner.plan().to_json()).emptied(), pruner.plan().emptied());
  make_plan(*network.net, network.forward(), by_magnitude());
  EXPECT_EQ(heard.messages.size(), 2u);
}

TEST(EmptiedLayers, AFloorKeepsThemFromIt) {
  Heard heard;
  const c10::WarningUtils::WarningHandlerGuard guard(&heard);
  auto network = lopsided();
  auto options = by_magnitude();
  options.min_density = 0.2;
  EXPECT_TRUE(make_plan(*network.net, network.forward(), options).emptied().empty());
  EXPECT_TRUE(heard.messages.empty());
}

}  // namespace
}  // namespace jouleprune::tests
