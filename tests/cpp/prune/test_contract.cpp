// The contract: estimate(convert(m)) == pruner.energy_j() <= budget, above 99 % of it or maximal; estimate and plan leave no trace.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <jouleprune/prune.h>
#include <jouleprune/rounds.h>

#include <string>
#include <tuple>

#include "prune/networks.h"

namespace jouleprune::tests {
namespace {

class Contract : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  Network network = make_network(std::get<0>(GetParam()));
  Profile profile = Profile::load(std::get<1>(GetParam()));

  /// `share` 0: the least that can be reached, 1: dense.
  Budget between(double share) {
    const Pruner probe(*network.net, network.forward(), {.energy = Budget::percent(100), .profile = profile});
    return Budget::joules(probe.minimum_j() + (probe.dense_j() - probe.minimum_j()) * share);
  }
};

TEST_P(Contract, ConvertedEqualsPlannedAndMeetsTheBudget) {
  for (const double share : {0.1, 0.5, 0.9}) {
    network = make_network(std::get<0>(GetParam()));
    const auto budget = between(share);
    Pruner pruner(*network.net, network.forward(), {.energy = budget, .profile = profile});
    const auto& plan = pruner.prune_now();
    EXPECT_LE(pruner.energy_j(), pruner.budget_j());
    EXPECT_TRUE(plan.maximal || pruner.energy_j() > 0.99 * pruner.budget_j()) << pruner.report();
    EXPECT_TRUE(pruner.done());
    EXPECT_EQ(pruner.report().after.total_j(), pruner.energy_j());
    EXPECT_EQ(pruner.report().before.total_j(), pruner.dense_j());

    network.net->eval();
    const at::NoGradGuard no_grad;
    const auto expected = network.net->forward(network.input);
    EXPECT_EQ(estimate(*network.net, network.forward(), profile).total_j() <= pruner.budget_j(), profile.kind() == "asic")
        << "masks alone save joules only where hardware skips zeros";
    convert(*network.net, network.forward(), {.profile = profile, .plan = pruner.plan()});
    EXPECT_EQ(estimate(*network.net, network.forward(), profile).total_j(), pruner.energy_j()) << explain(*network.net);
    EXPECT_LT((network.net->forward(network.input) - expected).abs().max().item<double>(), 1e-4);
  }
}

TEST_P(Contract, BudgetsOfBytesAndMultiplyAdds) {
  int64_t state_bytes = 0;
  for (const auto& tensor : network.net->parameters()) state_bytes += static_cast<int64_t>(tensor.nbytes());
  for (const auto& tensor : network.net->buffers()) state_bytes += static_cast<int64_t>(tensor.nbytes());
  for (const char* prune_for : {"bytes", "macs"}) {
    network = make_network(std::get<0>(GetParam()));
    const PrunerOptions options{.energy = Budget::percent(40), .profile = profile, .schedule = LinearDecay{.end_step = 2}, .prune_for = prune_for};
    Pruner pruner(*network.net, network.forward(), options);
    for (int step = 0; step < 3; ++step) pruner.step();
    const auto& amounts = pruner.plan().amounts;
    ASSERT_TRUE(pruner.done() && amounts.has_value());
    EXPECT_LE(amounts->used, amounts->budget);
    EXPECT_TRUE(pruner.plan().maximal || amounts->used > 0.99 * amounts->budget);
    EXPECT_DOUBLE_EQ(amounts->budget, 0.4 * amounts->dense);
    if (std::string(prune_for) == "bytes") {
      EXPECT_EQ(amounts->dense, static_cast<double>(state_bytes));
    }
    EXPECT_EQ(pruner.budget_j(), pruner.energy_j());
    EXPECT_EQ(pruner.report().after.total_j(), pruner.energy_j());
    Network again = make_network(std::get<0>(GetParam()));
    Pruner resumed(*again.net, again.forward(), options);
    resumed.load_state_dict(pruner.state_dict());
    EXPECT_EQ(resumed.plan().to_json(), pruner.plan().to_json());
    EXPECT_THROW(prune_to_floor(*network.net, network.forward(), {.profile = profile, .prune_for = prune_for},
                                {.evaluate = [] { return 1.0; }}),
                 c10::ValueError);
    network.net->eval();
    convert(*network.net, network.forward(), {.plan = pruner.plan()});
    if (std::string(prune_for) == "bytes" && profile.kind() == "cpu") {
      EXPECT_EQ(estimate(*network.net, network.forward(), profile).total_j(), pruner.energy_j());
    }
  }
  EXPECT_THROW(make_plan(*network.net, network.forward(), {.energy = Budget::percent(40), .profile = profile, .prune_for = "watts"}), PatternError);
}

TEST_P(Contract, PatternsKeepTheSamePromise) {
  for (const char* pattern : {"16x1", "4x4", "3x5", "2:4", "auto"}) {
    network = make_network(std::get<0>(GetParam()));
    const Pruner probe(*network.net, network.forward(), {.energy = Budget::percent(100), .profile = profile, .pattern = pattern});
    const auto budget = Budget::joules(probe.minimum_j() + (probe.dense_j() - probe.minimum_j()) * 0.3);
    Pruner pruner(*network.net, network.forward(),
                  {.energy = budget, .profile = profile, .pattern = pattern, .schedule = PolynomialDecay{0, 4, 2}});
    while (!pruner.done()) {
      pruner.step();
    }
    const auto& plan = pruner.plan();
    EXPECT_LE(pruner.energy_j(), pruner.budget_j()) << pattern;
    EXPECT_TRUE(plan.maximal || pruner.energy_j() > 0.99 * pruner.budget_j()) << pattern;
    ASSERT_FALSE(plan.masks.empty()) << pattern;
    for (const auto& layer : plan.layers) {
      EXPECT_TRUE(layer.pattern == "dense" || layer.pattern == pattern || pattern == std::string("auto")) << layer.pattern;
    }
    network.net->eval();
    const at::NoGradGuard no_grad;
    const auto expected = network.net->forward(network.input);
    convert(*network.net, network.forward(), {.profile = profile, .plan = pruner.plan()});
    EXPECT_EQ(estimate(*network.net, network.forward(), profile).total_j(), pruner.energy_j()) << explain(*network.net);
    EXPECT_LT((network.net->forward(network.input) - expected).abs().max().item<double>(), 1e-4);
  }
}

TEST_P(Contract, ForcedConversionCostsTheSame) {
  Pruner pruner(*network.net, network.forward(), {.energy = between(0.5), .profile = profile});
  pruner.prune_now();
  const auto decisions = convert(*network.net, network.forward(), {.plan = pruner.plan(), .force = true});
  ASSERT_FALSE(decisions.empty());
  for (const auto& decision : decisions) {
    EXPECT_EQ(decision.layout, "csr") << decision.reason;
  }
  EXPECT_EQ(estimate(*network.net, network.forward(), profile).total_j(), pruner.energy_j());
  network.net->eval();
  EXPECT_EQ(estimate(network.forward(), profile).total_j(), pruner.energy_j()) << "without names as well";
}

TEST_P(Contract, EstimateAndPlanLeaveNoTrace) {
  network.net->train();
  const auto before = snapshot(*network.net);
  const auto random = at::detail::getDefaultCPUGenerator().get_state();
  estimate(*network.net, network.forward(), profile);
  const auto plan = make_plan(*network.net, network.forward(), {.energy = between(0.5), .profile = profile});
  EXPECT_TRUE(same(before, snapshot(*network.net)));
  EXPECT_TRUE(random.equal(at::detail::getDefaultCPUGenerator().get_state()));
  EXPECT_FALSE(plan.masks.empty());
  for (const auto& module : network.net->modules()) {
    EXPECT_TRUE(module->is_training());
  }
  for (const auto& parameter : network.net->parameters()) {
    EXPECT_FALSE(parameter.grad().defined());
    EXPECT_TRUE(parameter.requires_grad());
  }
}

TEST_P(Contract, PlansAreTheSameEachTime) {
  const auto budget = between(0.4);
  const auto first = make_plan(*network.net, network.forward(), {.energy = budget, .profile = profile});
  const auto second = make_plan(*network.net, network.forward(), {.energy = budget, .profile = profile});
  EXPECT_EQ(first.to_json(), second.to_json());
  EXPECT_TRUE(same(first.masks, second.masks));
}

INSTANTIATE_TEST_SUITE_P(Networks, Contract,
                         testing::Combine(testing::Values("mlp", "cnn"), testing::Values("eyeriss-65nm", "generic-cpu")),
                         [](const auto& info) {
                           return std::get<0>(info.param) + (std::get<1>(info.param) == "generic-cpu" ? "_cpu" : "_eyeriss");
                         });

}  // namespace
}  // namespace jouleprune::tests
