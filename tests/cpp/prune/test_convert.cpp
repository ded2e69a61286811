// convert() decides by the plan, by joules, by the clock; explain() says why; what cannot be done changes nothing.
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <jouleprune/prune.h>
#include <jouleprune/value_errors.h>
#include <torch/nn/modules/container/moduledict.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/optim/sgd.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <stdexcept>

#include "prune/networks.h"

namespace jouleprune::tests {
namespace {

const Profile& eyeriss() {
  static const Profile profile = Profile::load("eyeriss-65nm");
  return profile;
}

Network pruned_mlp() {
  auto network = make_mlp();
  Pruner(*network.net, network.forward(), {.energy = Budget::percent(20), .profile = eyeriss()}).prune_now();  // every layer
  return network;
}

int64_t sparse_layers(const torch::nn::Module& module) {
  int64_t count = 0;
  for (const auto& child : module.modules(/*include_self=*/false)) {
    count += child->as<nn::SparseLinear>() != nullptr || child->as<nn::SparseConv2d>() != nullptr;
  }
  return count;
}

TEST(Convert, FollowsTheClockWhereJoulesDoNotDecide) {
  for (const bool sparse_wins : {true, false}) {
    auto network = pruned_mlp();
    const auto timer = sparse_wins ? fixed_timer(2e-4, 1e-4) : fixed_timer(1e-4, 0.98e-4);  // 2 % are not enough
    const auto decisions = convert(*network.net, network.forward(), {.profile = eyeriss(), .timer = timer});
    ASSERT_EQ(decisions.size(), 3u);
    for (const auto& decision : decisions) {
      EXPECT_EQ(decision.layout, sparse_wins ? "csr" : "dense") << decision.reason;
      EXPECT_NE(decision.reason.find("measured"), std::string::npos) << decision.reason;
      ASSERT_TRUE(decision.dense_s.has_value() && decision.sparse_s.has_value());
      EXPECT_GT(*decision.dense_s, *decision.sparse_s);
    }
    EXPECT_EQ(sparse_layers(*network.net), sparse_wins ? 3 : 0);
  }
}

TEST(Convert, CostEntriesDecideWhenTuningIsOff) {
  auto network = pruned_mlp();
  setenv("JOULEPRUNE_TUNE", "off", 1);
  const Timer refuses = [](const auto&) -> double { throw std::logic_error("timed"); };
  const auto decisions = convert(*network.net, network.forward(), {.profile = eyeriss(), .timer = refuses});
  unsetenv("JOULEPRUNE_TUNE");
  ASSERT_EQ(decisions.size(), 3u);
  for (const auto& decision : decisions) {
    EXPECT_NE(decision.reason.find("modelled, generic-cpu"), std::string::npos) << decision.reason;
  }
}

TEST(Convert, RacesConvolutionsOnTheirShapes) {
  auto network = make_cnn();
  Pruner(*network.net, network.forward(), {.energy = Budget::percent(40), .profile = eyeriss()}).prune_now();
  network.net->eval();
  const at::NoGradGuard no_grad;
  const auto expected = network.net->forward(network.input);
  const auto decisions = convert(*network.net, network.forward(), {.timer = fixed_timer(2e-4, 1e-4)});
  for (const auto& decision : decisions) {
    EXPECT_EQ(decision.layout, "csr") << decision.reason;
  }
  EXPECT_LT((network.net->forward(network.input) - expected).abs().max().item<double>(), 1e-4);
}

TEST(Convert, JoulesDecideOnACpuProfile) {
  auto network = make_mlp();
  const auto profile = Profile::load("generic-cpu");
  {
    const at::NoGradGuard no_grad;
    auto parameters = network.net->named_parameters();
    parameters["0.weight"].mul_(parameters["0.weight"].gt(0.09));  // few are left
    parameters["3.weight"].view(-1)[0] = 0;                        // one zero does not pay
  }
  const auto decisions = convert(*network.net, network.forward(), {.profile = profile});
  ASSERT_EQ(decisions.size(), 2u);
  EXPECT_EQ(decisions[0].layout, "csr") << decisions[0].reason;
  EXPECT_EQ(decisions[1].layout, "dense") << decisions[1].reason;
  EXPECT_NE(decisions[1].reason.find(" J "), std::string::npos) << decisions[1].reason;
  EXPECT_FALSE(decisions[0].dense_s.has_value());
}

TEST(Convert, ExplainsItselfOnCopiesAndParts) {
  auto network = pruned_mlp();
  convert(*network.net, network.forward(), {.force = true});
  const auto why = explain(*network.net);
  EXPECT_EQ(std::count(why.begin(), why.end(), '\n'), 2) << why;
  EXPECT_NE(why.find("csr: forced"), std::string::npos) << why;
  EXPECT_NE(why.find("density 0."), std::string::npos) << why;
  EXPECT_EQ(explain(*network.net->clone()), why);
  EXPECT_EQ(explain(*network.net->ptr(0)), why);
}

/// Lines of explain() but those that list what could run a layer.
int64_t layers_told(const std::string& why) {
  std::istringstream lines(why);
  int64_t count = 0;
  for (std::string line; std::getline(lines, line);) count += !line.starts_with("    ");
  return count;
}

TEST(Convert, ExplainsWhatTwoConversionsDid) {
  auto network = pruned_mlp();
  auto pruned = network.net->named_parameters()["3.weight"].detach().clone();
  {
    const at::NoGradGuard no_grad;
    network.net->named_parameters()["3.weight"].fill_(1);
  }
  ASSERT_EQ(convert(*network.net, network.forward(), {.force = true}).size(), 2u);
  {
    const at::NoGradGuard no_grad;
    network.net->named_parameters()["3.weight"].copy_(pruned);
  }
  ASSERT_EQ(convert(*network.net, network.forward(), {.timer = fixed_timer(1e-4, 2e-4)}).size(), 1u);
  const auto why = explain(*network.net);
  EXPECT_EQ(layers_told(why), 3) << why;
  EXPECT_NE(why.find("csr: forced"), std::string::npos) << why;
  EXPECT_NE(why.find("(measured)"), std::string::npos) << why;
  EXPECT_TRUE(convert(*network.net, network.forward(), {.timer = fixed_timer(1e-4, 2e-4)}).size() == 1);
  EXPECT_EQ(explain(*network.net), why);
}

TEST(Convert, ExplainsWhatWasNotConverted) {
  auto network = make_mlp();
  EXPECT_EQ(explain(*network.net), "every layer runs dense and holds no zeros");
  network = pruned_mlp();
  EXPECT_NE(explain(*network.net).find("not converted"), std::string::npos);
}

TEST(Convert, ConvertedNetworksTrainOn) {
  auto network = pruned_mlp();
  convert(*network.net, network.forward(), {.force = true});
  torch::optim::SGD optimizer(network.net->parameters(), torch::optim::SGDOptions(0.05).momentum(0.9).weight_decay(1e-3));
  network.net->eval();
  const double before = network.net->forward(network.input).square().mean().item<double>();
  for (int step = 0; step < 10; ++step) {
    optimizer.zero_grad();
    network.net->forward(network.input).square().mean().backward();
    optimizer.step();
  }
  EXPECT_LT(network.net->forward(network.input).square().mean().item<double>(), before);
}

TEST(Convert, PrunerStepsPastConvertedLayers) {
  auto network = make_mlp();
  Pruner pruner(*network.net, network.forward(), {.energy = Budget::percent(50), .profile = eyeriss()});
  pruner.prune_now();
  convert(*network.net, network.forward(), {.plan = pruner.plan(), .force = true});
  EXPECT_NO_THROW(pruner.step());
  EXPECT_THROW(pruner.prune_now(), c10::ValueError);
}

TEST(Convert, ReplacesItemsOfListsOnDemandOnly) {
  auto first = torch::nn::Linear(32, 32);
  auto second = torch::nn::Linear(32, 32);
  struct NetImpl : torch::nn::Module {
    NetImpl(const torch::nn::Linear& first, const torch::nn::Linear& second) {
      list = register_module("list", torch::nn::ModuleList());
      list->push_back(first);
      dict = register_module("dict", torch::nn::ModuleDict());
      dict->update({{"b", second.ptr()}});
    }
    at::Tensor run(const std::shared_ptr<torch::nn::Module>& layer, const at::Tensor& x) {
      auto* dense = layer->as<torch::nn::Linear>();
      return dense != nullptr ? dense->forward(x) : layer->as<nn::SparseLinear>()->forward(x);
    }
    at::Tensor forward(const at::Tensor& x) { return run((*dict)["b"], run((*list)[0], x)); }
    torch::nn::ModuleList list{nullptr};
    torch::nn::ModuleDict dict{nullptr};
  };
  {
    const at::NoGradGuard no_grad;
    first->weight.mul_(first->weight.gt(0.1));
    second->weight.mul_(second->weight.gt(0.1));
  }
  auto net = std::make_shared<NetImpl>(first, second);
  const auto x = at::randn({4, 32});
  const Forward forward{[&] { net->forward(x); }, 4};
  const auto expected = net->forward(x);
  for (const auto& decision : convert(*net, forward, {.force = true})) {
    EXPECT_EQ(decision.layout, "dense");
    EXPECT_NE(decision.reason.find("replace_in_lists"), std::string::npos) << decision.reason;
  }
  for (const auto& decision : convert(*net, forward, {.force = true, .replace_in_lists = true})) {
    EXPECT_EQ(decision.layout, "csr") << decision.reason;
  }
  EXPECT_EQ(sparse_layers(*net), 2);
  EXPECT_EQ(net->named_parameters().keys(),
            (std::vector<std::string>{"list.0.values", "list.0.bias", "dict.b.values", "dict.b.bias"}));
  EXPECT_LT((net->forward(x) - expected).abs().max().item<double>(), 1e-5);
}

TEST(Convert, LeavesSharedLayersDense) {
  torch::nn::Linear shared(32, 32);
  torch::nn::Sequential net(shared, torch::nn::ReLU(), shared);
  {
    const at::NoGradGuard no_grad;
    shared->weight.mul_(shared->weight.gt(0.1));
  }
  const auto x = at::randn({4, 32});
  for (const auto& decision : convert(*net, {[&] { net->forward(x); }, 4}, {.force = true})) {
    EXPECT_EQ(decision.layout, "dense");
    EXPECT_NE(decision.reason.find("shared by 0, 2"), std::string::npos) << decision.reason;
  }
}

TEST(Convert, ChecksThatTheModuleFitsThePlan) {
  auto network = make_mlp();
  Pruner pruner(*network.net, network.forward(), {.energy = Budget::percent(50), .profile = eyeriss()});
  const auto plan = pruner.prune_now();
  auto other = make_cnn();
  EXPECT_THROW(convert(*other.net, other.forward(), {.plan = plan}), c10::ValueError);
  auto unpruned = make_mlp();
  const auto before = snapshot(*unpruned.net);
  try {
    convert(*unpruned.net, unpruned.forward(), {.plan = plan});
    FAIL() << "weights are where the plan removed them";
  } catch (const c10::ValueError& error) {
    EXPECT_NE(std::string(error.what()).find("are not zero where the plan removed them"), std::string::npos) << error.what();
  }
  EXPECT_TRUE(same(before, snapshot(*unpruned.net)));
  EXPECT_THROW(convert(*network.net, network.forward(), {.profile = Profile::load("generic-cpu"), .plan = plan}), ProfileError);
}

TEST(Convert, PlansTravelAsJsonWithoutMasks) {
  auto network = make_mlp();
  Pruner pruner(*network.net, network.forward(), {.energy = Budget::percent(50), .profile = eyeriss()});
  const auto plan = Plan::parse(pruner.prune_now().to_json());
  convert(*network.net, network.forward(), {.plan = MaskedPlan(plan), .force = true});
  EXPECT_EQ(estimate(*network.net, network.forward(), eyeriss()).total_j(), pruner.energy_j());
}

}  // namespace
}  // namespace jouleprune::tests
