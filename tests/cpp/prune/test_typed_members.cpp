// Structs that hold layers as typed members: jouleprune::nn's switch in place, torch::nn's stay dense and say so.
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <jouleprune/prune.h>
#include <jouleprune/value_errors.h>

#include "prune/networks.h"

namespace jouleprune::tests {
namespace {

template <typename Conv, typename Linear>
struct MembersImpl : torch::nn::Module {
  MembersImpl() {
    torch::manual_seed(17);
    conv = register_module("conv", Conv(torch::nn::Conv2dOptions(2, 16, 3).padding(1)));
    fc1 = register_module("fc1", Linear(16 * 8 * 8, 64));
    fc2 = register_module("fc2", Linear(64, 10));
  }
  at::Tensor forward(const at::Tensor& x) { return fc2(fc1(conv(x).relu().flatten(1)).relu()); }
  Conv conv{nullptr};
  Linear fc1{nullptr}, fc2{nullptr};
};
using Ours = MembersImpl<nn::Conv2d, nn::Linear>;
using Torchs = MembersImpl<torch::nn::Conv2d, torch::nn::Linear>;

template <typename Net>
Forward forward_of(const std::shared_ptr<Net>& net) {
  return {[net, x = at::randn({2, 2, 8, 8})] { net->forward(x); }, 2};
}

TEST(TypedMembers, OursSwitchInPlaceAndMeetTheBudget) {
  const auto x = at::randn({2, 2, 8, 8});
  for (const char* name : {"generic-cpu", "eyeriss-65nm"}) {
    const auto profile = Profile::load(name);
    auto net = std::make_shared<Ours>();
    const auto forward = forward_of(net);
    const Pruner probe(*net, forward, {.energy = Budget::percent(100), .profile = profile});
    Pruner pruner(*net, forward, {.energy = Budget::joules((probe.minimum_j() + probe.dense_j()) / 2), .profile = profile});
    pruner.prune_now();
    const auto expected = net->forward(x);
    convert(*net, forward, {.profile = profile, .plan = pruner.plan()});
    EXPECT_EQ(estimate(*net, forward, profile).total_j(), pruner.energy_j()) << explain(*net);
    EXPECT_LE(pruner.energy_j(), pruner.budget_j());
    EXPECT_LT((net->forward(x) - expected).abs().max().item<double>(), 1e-4);
    if (profile.kind() != "asic") {
      EXPECT_TRUE(net->fc1->is_sparse()) << explain(*net);
      EXPECT_NE(explain(*net).find("fc1"), std::string::npos);
    }
  }
}

TEST(TypedMembers, OursThatStayDenseTellWhy) {
  const auto profile = Profile::load("eyeriss-65nm");
  auto net = std::make_shared<Ours>();
  Pruner pruner(*net, forward_of(net), {.energy = Budget::percent(50), .profile = profile});
  pruner.prune_now();
  convert(*net, forward_of(net), {.plan = pruner.plan(), .timer = fixed_timer(1e-4, 2e-4)});
  EXPECT_FALSE(net->fc1->is_sparse());
  EXPECT_NE(explain(*net).find("(measured)"), std::string::npos) << explain(*net);
}

TEST(TypedMembers, TorchsAreNotPrunedWhereOnlySparseLayersSave) {
  auto net = std::make_shared<Torchs>();
  const auto profile = Profile::load("generic-cpu");
  try {
    Pruner(*net, forward_of(net), {.energy = Budget::percent(50), .profile = profile});
    FAIL() << "no layer can run sparse";
  } catch (const BudgetError& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("fc1: a typed member of torch::nn type cannot be replaced; declare it as jouleprune::nn::Linear"),
              std::string::npos)
        << what;
    EXPECT_NE(what.find("jouleprune::nn::Conv2d"), std::string::npos) << what;
    EXPECT_EQ(error.minimum_j(), estimate(*net, forward_of(net), profile).total_j());
  }
}

TEST(TypedMembers, TorchsStayDenseWhereHardwareSkipsZeros) {
  auto net = std::make_shared<Torchs>();
  const auto profile = Profile::load("eyeriss-65nm");
  const auto forward = forward_of(net);
  Pruner pruner(*net, forward, {.energy = Budget::percent(50), .profile = profile});
  pruner.prune_now();
  for (const auto& decision : convert(*net, forward, {.plan = pruner.plan(), .force = true})) {
    EXPECT_EQ(decision.layout, "dense");
  }
  EXPECT_EQ(estimate(*net, forward, profile).total_j(), pruner.energy_j());
  const auto why = explain(*net);
  EXPECT_NE(why.find("a typed member of torch::nn type cannot be replaced"), std::string::npos) << why;
}

TEST(TypedMembers, DeviatingFromThePlanIsABudgetErrorAndChangesNothing) {
  const auto profile = Profile::load("generic-cpu");
  auto ours = std::make_shared<Ours>();
  const Pruner probe(*ours, forward_of(ours), {.energy = Budget::percent(100), .profile = profile});
  Pruner pruner(*ours, forward_of(ours),
                {.energy = Budget::joules((probe.minimum_j() + probe.dense_j()) / 2), .profile = profile});
  const auto plan = pruner.prune_now();
  auto torchs = std::make_shared<Torchs>();  // the same names and weights, in layers that cannot switch
  {
    const at::NoGradGuard no_grad;
    auto from = ours->named_parameters();
    for (auto& parameter : torchs->named_parameters()) {
      parameter.value().copy_(from[parameter.key()]);
    }
  }
  const auto before = snapshot(*torchs);
  try {
    convert(*torchs, forward_of(torchs), {.profile = profile, .plan = plan});
    FAIL() << "dense layers exceed the budget";
  } catch (const BudgetError& error) {
    EXPECT_NE(std::string(error.what()).find("typed member"), std::string::npos) << error.what();
    EXPECT_GT(error.minimum_j(), plan.budget_j);
  }
  EXPECT_TRUE(same(before, snapshot(*torchs)));
  const auto decisions = convert(*torchs, forward_of(torchs), {.profile = profile, .plan = plan, .allow_over_budget = true});
  for (const auto& decision : decisions) {
    EXPECT_EQ(decision.layout, "dense");
  }
}

TEST(TypedMembers, TheRootItselfSwitches) {
  nn::Linear layer(64, 64);
  {
    const at::NoGradGuard no_grad;
    layer->weight.mul_(layer->weight.gt(0.1));
  }
  const auto x = at::randn({1, 64});
  convert(*layer, {[&] { layer->forward(x); }, 1}, {.force = true});
  EXPECT_TRUE(layer->is_sparse());
  torch::nn::Linear plain(64, 64);
  {
    const at::NoGradGuard no_grad;
    plain->weight.mul_(plain->weight.gt(0.1));
  }
  const auto decisions = convert(*plain, {[&] { plain->forward(x); }, 1}, {.force = true});
  ASSERT_EQ(decisions.size(), 1u);
  EXPECT_NE(decisions[0].reason.find("put it into a Sequential"), std::string::npos);
}

}  // namespace
}  // namespace jouleprune::tests
