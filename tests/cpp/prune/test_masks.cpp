// No pruned weight ever comes back.
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <jouleprune/ops.h>
#include <jouleprune/prune.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/optim/adam.h>
#include <torch/optim/sgd.h>

#include <memory>

#include "prune/masks.h"
#include "prune/networks.h"

namespace jouleprune::tests {
namespace {

int64_t count_nonzeros(const at::Tensor& tensor) { return tensor.ne(0).sum().item<int64_t>(); }

void expect_pruned_stay(const torch::nn::Module& module, const MaskedPlan& plan, bool gradients) {
  const auto parameters = module.named_parameters();
  for (const auto& [name, bits] : plan.masks) {
    const auto& weight = parameters[name];
    const auto pruned = unpack_mask(bits, weight.sizes()).to(at::kBool).logical_not();
    EXPECT_GT(count_nonzeros(pruned), 0) << name;
    EXPECT_EQ(count_nonzeros(weight.detach().masked_select(pruned)), 0) << name;
    if (gradients) {
      EXPECT_EQ(count_nonzeros(weight.grad().masked_select(pruned)), 0) << name;
    }
  }
}

void train(torch::optim::Optimizer& optimizer, Network& network, Pruner& pruner) {
  const auto before = snapshot(*network.net);
  for (int step = 0; step < 12; ++step) {
    optimizer.zero_grad();
    for (int part = 0; part < 2; ++part) {  // two backward passes: gradients accumulate
      network.net->forward(network.input).square().mean().backward();
      if (step > 0) {
        expect_pruned_stay(*network.net, pruner.plan(), true);
      }
    }
    optimizer.step();
    pruner.step();
    expect_pruned_stay(*network.net, pruner.plan(), false);
  }
  EXPECT_TRUE(pruner.done());
  EXPECT_FALSE(pruner.plan().masks.empty());
  EXPECT_FALSE(same(before, snapshot(*network.net))) << "kept weights train";
}

Pruner make_pruner(Network& network) {
  return Pruner(*network.net, network.forward(),
                {.energy = Budget::percent(30),
                 .profile = Profile::load("eyeriss-65nm"),
                 .schedule = PolynomialDecay{.begin_step = 0, .end_step = 8, .frequency = 2, .power = 2}});
}

class Masks : public testing::TestWithParam<std::string> {};

TEST_P(Masks, StayUnderSgdWithMomentumAndWeightDecay) {
  auto network = make_network(GetParam());
  auto pruner = make_pruner(network);
  torch::optim::SGD optimizer(network.net->parameters(),
                              torch::optim::SGDOptions(0.05).momentum(0.9).nesterov(true).weight_decay(1e-2));
  train(optimizer, network, pruner);
}

TEST_P(Masks, StayUnderAdam) {
  auto network = make_network(GetParam());
  auto pruner = make_pruner(network);
  torch::optim::Adam optimizer(network.net->parameters(), torch::optim::AdamOptions(1e-2).weight_decay(1e-2));
  for (int step = 0; step < 3; ++step) {  // moments of the weights that are pruned later are there already
    optimizer.zero_grad();
    network.net->forward(network.input).square().mean().backward();
    optimizer.step();
  }
  pruner.prune_now();
  train(optimizer, network, pruner);
}

INSTANTIATE_TEST_SUITE_P(Networks, Masks, testing::Values("mlp", "cnn"));

TEST(MaskHooks, EndWithThePruner) {
  auto network = make_mlp();
  {
    auto pruner = make_pruner(network);
    pruner.prune_now();
  }
  network.net->forward(network.input).square().mean().backward();
  auto weight = network.net->parameters()[0];
  EXPECT_GT(count_nonzeros(weight.grad().masked_select(weight.detach().eq(0))), 0) << "zeros may train again";
}

TEST(MaskHooks, EndWithRemove) {
  auto network = make_mlp();
  auto pruner = make_pruner(network);
  pruner.prune_now();
  pruner.remove();
  network.net->forward(network.input).square().mean().backward();
  auto weight = network.net->parameters()[0];
  EXPECT_GT(count_nonzeros(weight.grad().masked_select(weight.detach().eq(0))), 0);
}

struct CountingHook : torch::autograd::PostAccumulateGradHook {
  explicit CountingHook(std::shared_ptr<int> count_) : count(std::move(count_)) {}
  void operator()(const torch::autograd::Variable&) override { ++*count; }
  std::shared_ptr<int> count;
};

TEST(MaskHooks, KeepTheHookThatWasThere) {
  auto network = make_mlp();
  auto weight = network.net->parameters()[0];
  auto count = std::make_shared<int>(0);
  torch::autograd::impl::set_post_acc_grad_hooks(weight, std::make_unique<CountingHook>(count));
  prune::MaskSet masks(*network.net);
  masks.replace({{"0.weight", pack_mask(weight.detach().gt(0))}});
  network.net->forward(network.input).square().mean().backward();
  EXPECT_EQ(*count, 1);
  EXPECT_EQ(count_nonzeros(weight.grad().masked_select(weight.detach().eq(0))), 0);
  masks.clear();
  network.net->forward(network.input).square().mean().backward();
  EXPECT_EQ(*count, 2);
}

TEST(MaskHooks, SurviveADtypeChange) {
  auto network = make_mlp();
  auto pruner = make_pruner(network);
  pruner.prune_now();
  network.net->to(at::kDouble);
  network.net->forward(network.input.to(at::kDouble)).square().mean().backward();
  pruner.step();
  expect_pruned_stay(*network.net, pruner.plan(), true);
}

TEST(MaskHooks, ZeroRevivedWeightsAtTheNextStep) {
  auto network = make_mlp();
  auto pruner = make_pruner(network);
  pruner.prune_now();
  {
    const at::NoGradGuard no_grad;
    network.net->parameters()[0].fill_(1);
  }
  pruner.step();
  expect_pruned_stay(*network.net, pruner.plan(), false);
}

}  // namespace
}  // namespace jouleprune::tests
