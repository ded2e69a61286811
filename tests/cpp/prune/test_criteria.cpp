// Criteria of importance in C++: their definitions, what they need, and that they leave no trace. Equal to Python's:
// tests/consumer/same_criteria.cpp.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>
#include <gtest/gtest.h>
#include <jouleprune/ops_criteria.h>
#include <jouleprune/prune.h>
#include <jouleprune/value_errors.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/modules/rnn.h>

#include <array>
#include <limits>

#include "prune/criteria/importance.h"
#include "prune/networks.h"
#include "prune/notes.h"

namespace jouleprune::tests {
namespace {

using prune::criteria::Scores;

/// Convolution, norm, ReLU; a grouped convolution and a ReLU; a linear layer.
struct CriteriaNet {
  torch::nn::Sequential net;
  std::vector<at::Tensor> batches;

  CriteriaNet() {
    torch::manual_seed(5);
    net = torch::nn::Sequential(torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 12, 3).bias(false)), torch::nn::BatchNorm2d(12),
                                torch::nn::ReLU(), torch::nn::MaxPool2d(2), torch::nn::Conv2d(torch::nn::Conv2dOptions(12, 18, 3).groups(3)),
                                torch::nn::ReLU(), torch::nn::Flatten(), torch::nn::Linear(18 * 5 * 5, 10));
    const at::NoGradGuard no_grad;
    net->named_parameters()["1.weight"].uniform_(0.2, 2);
    net->named_parameters()["1.bias"].normal_(0, 0.2);
    for (int i = 0; i < 3; ++i) batches.push_back(at::randn({4, 1, 16, 16}).relu());
  }

  at::Tensor weight(const std::string& name) const { return net->named_parameters()[name].detach(); }
  /// Output of the first `layers` on all batches, in eval mode, float64.
  at::Tensor after(size_t layers) {
    const at::NoGradGuard no_grad;
    net->eval();
    at::Tensor x = at::cat(batches);
    for (size_t i = 0; i < layers; ++i) x = (net->begin() + static_cast<int64_t>(i))->forward<at::Tensor>(x);
    net->train();
    return x.to(at::kDouble);
  }
  at::Tensor loss_of(const at::Tensor& x) { return net->forward(x).square().mean(); }
  PrunerOptions options(const std::string& importance) {
    return {.energy = Budget::percent(50),
            .profile = Profile::load("eyeriss-65nm"),
            .importance = importance,
            .data = [this] { for (const auto& batch : batches) net->forward(batch); },
            .loss = [this](const TakeLoss& take) { for (const auto& batch : batches) take(loss_of(batch)); },
            .losses = {[this](const TakeLoss& take) { for (const auto& batch : batches) take(loss_of(batch)); },
                       [this](const TakeLoss& take) { take(net->forward(batches[0]).select(1, 0).sum()); }}};
  }
  Forward forward() {
    return {[this] { net->forward(batches[0]); }, 4};
  }
  /// Scores of the convolutions and the linear layer, of their sizes.
  Scores scores(const std::string& importance, const std::string& pattern = "unstructured") {
    const std::vector<std::string> names = {"0.weight", "4.weight", "7.weight"};
    const auto given = options(importance);
    const auto plan = make_plan(*net, forward(), options("lamp"));
    const std::function<void()> run = forward().run;
    const prune::criteria::Context context{*net, names, std::vector<std::string>(3, pattern), plan.workload, run, given.data, given.loss, given.losses};
    const auto flat = prune::criteria::scores_of(importance, {}, context);
    Scores found;
    for (size_t i = 0; i < names.size(); ++i) found[names[i]] = flat[i].view(weight(names[i]).sizes());
    return found;
  }
  /// Gradients of the batches, in eval mode, float64.
  std::vector<at::Tensor> gradients(const std::string& name) {
    net->eval();
    std::vector<at::Tensor> grads;
    for (const auto& batch : batches) {
      grads.push_back(torch::autograd::grad({loss_of(batch)}, {net->named_parameters()[name]})[0].to(at::kDouble));
    }
    net->train();
    return grads;
  }
};

void expect_close(const at::Tensor& got, const at::Tensor& expected) {
  EXPECT_TRUE(got.to(at::kDouble).allclose(expected.to(at::kDouble), 1e-5, 1e-9)) << (got.to(at::kDouble) - expected.to(at::kDouble)).abs().max().item<double>();
}

const std::vector<std::string> kAllNames = {"lamp", "magnitude", "gradient", "taylor", "random", "l1", "l2", "linf", "fpgm", "bn_scale", "wanda", "apoz",
                                        "mean_activation", "connection_low", "connection_high", "fisher", "movement", "t_test", "f_test",
                                            "random_path", "multi_task"};

TEST(Criteria, TheBudgetHoldsForEachAndNoTraceIsLeft) {
  const prune::QuietAboutEmptied quiet;
  const std::array<std::string, 3> normalisations = {"", "/sum", "/lamp"};
  for (size_t i = 0; i < kAllNames.size(); ++i) {
    for (const auto& normalise : {std::string(), normalisations[i % 3]}) {
      const auto& importance = kAllNames[i];
      CriteriaNet network;
      network.net->named_parameters()["7.weight"].set_requires_grad(false);
      network.net->named_parameters()["4.weight"].mutable_grad() = at::randn({18, 4, 3, 3});
      const auto before = snapshot(*network.net);
      const auto grad = network.net->named_parameters()["4.weight"].grad();
      torch::manual_seed(3);
      const auto drawn = at::randn({4});
      torch::manual_seed(3);
      const auto plan = make_plan(*network.net, network.forward(), network.options(importance + normalise));
      EXPECT_EQ(plan.importance, importance + normalise);
      EXPECT_LE(plan.energy_j, plan.budget_j) << importance << normalise;
      EXPECT_TRUE(plan.maximal || plan.energy_j > 0.99 * plan.budget_j) << importance << normalise;
      EXPECT_TRUE(at::randn({4}).equal(drawn)) << importance;
      EXPECT_TRUE(same(before, snapshot(*network.net))) << importance;
      EXPECT_TRUE(network.net->named_parameters()["4.weight"].grad().is_same(grad));
      EXPECT_FALSE(network.net->named_parameters()["0.weight"].grad().defined());
      EXPECT_FALSE(network.net->named_parameters()["7.weight"].requires_grad());
      EXPECT_TRUE(network.net->is_training());
    }
  }
}

TEST(Criteria, WandaReadsTheChannelsOfItsGroup) {
  CriteriaNet network;
  const auto scores = network.scores("wanda");
  const auto norms = network.after(4).square().mean({0, 2, 3}).sqrt();
  for (int64_t row = 0; row < 18; ++row) {
    const auto own = norms.narrow(0, row / 6 * 4, 4).view({4, 1, 1});
    expect_close(scores.at("4.weight")[row], network.weight("4.weight")[row].to(at::kDouble).abs() * own);
  }
  expect_close(scores.at("7.weight"), network.weight("7.weight").to(at::kDouble).abs() * network.after(7).square().mean(0).sqrt());
}

TEST(Criteria, ConnectionsCountNonZeroInputsAndMacs) {
  CriteriaNet network;
  const auto low = network.scores("connection_low"), high = network.scores("connection_high");
  const auto share = network.after(7).ne(0).to(at::kDouble).mean(0);
  expect_close(low.at("7.weight"), network.weight("7.weight").to(at::kDouble).abs() * share);
  const auto first = network.after(0).ne(0).to(at::kDouble).mean();
  expect_close(low.at("0.weight"), network.weight("0.weight").to(at::kDouble).abs() * first * (14 * 14));
  double largest = 0;
  for (const auto& [name, energies] : low) largest = std::max(largest, energies.max().item<double>());
  expect_close(high.at("4.weight"), largest - low.at("4.weight"));
}

TEST(Criteria, ApozAndMeanActivationFollowNormsAndActivations) {
  CriteriaNet network;
  const auto apoz = network.scores("apoz"), means = network.scores("mean_activation");
  const auto after = network.after(3);  // convolution, norm, ReLU
  expect_close(apoz.at("0.weight"), after.gt(0).to(at::kDouble).mean({0, 2, 3}).view({12, 1, 1, 1}).expand({12, 1, 3, 3}));
  expect_close(means.at("0.weight"), after.mean({0, 2, 3}).view({12, 1, 1, 1}).expand({12, 1, 3, 3}));
  expect_close(means.at("4.weight"), network.after(6).mean({0, 2, 3}).view({18, 1, 1, 1}).expand({18, 4, 3, 3}));
  expect_close(means.at("7.weight"), network.after(8).abs().mean(0).view({10, 1}).expand({10, 450}));
}

TEST(Criteria, BatchNormScaleIsGammaOfTheNormThatFollows) {
  CriteriaNet network;
  const auto scores = network.scores("bn_scale");
  const auto gamma = network.weight("1.weight").abs();
  EXPECT_TRUE(scores.at("0.weight").equal(gamma.view({12, 1, 1, 1}).expand({12, 1, 3, 3})));
  EXPECT_TRUE(scores.at("7.weight").eq(gamma.max()).all().item<bool>());
  auto plain = make_mlp();
  EXPECT_THROW(make_plan(*plain.net, plain.forward(), {.energy = Budget::percent(50), .profile = Profile::load("eyeriss-65nm"), .importance = "bn_scale"}),
               PatternError);
}

TEST(Criteria, GradientsAreOfTheBatches) {
  CriteriaNet network;
  const auto weight = network.weight("4.weight").to(at::kDouble);
  const auto grads = at::stack(network.gradients("4.weight"));
  expect_close(network.scores("gradient").at("4.weight"), grads.abs().mean(0));
  expect_close(network.scores("taylor").at("4.weight"), (grads * weight).abs().mean(0));
  expect_close(network.scores("fisher").at("4.weight"), weight.square() * grads.square().mean(0) / 2);
  const auto moved = network.scores("movement");
  const auto expected = -(grads * weight).sum(0);
  EXPECT_TRUE(moved.at("4.weight").flatten().argsort().equal(expected.flatten().to(at::kFloat).argsort()) ||
              (moved.at("4.weight") - expected - (moved.at("4.weight") - expected).mean()).abs().max().item<double>() < 1e-7);
  double least = std::numeric_limits<double>::infinity();
  for (const auto& [name, scores] : moved) least = std::min(least, scores.min().item<double>());
  EXPECT_EQ(least, 0);
  const auto t = grads.mean(0).abs() / (grads.std(at::IntArrayRef{0}, /*unbiased=*/true) / std::sqrt(3.0));
  expect_close(network.scores("t_test").at("4.weight"), t.nan_to_num(0));  // 0 / 0: no gradient in any batch
}

TEST(Criteria, TasksAreAdded) {
  CriteriaNet network;
  network.net->eval();
  const auto other = torch::autograd::grad({network.net->forward(network.batches[0]).select(1, 0).sum()}, {network.net->named_parameters()["4.weight"]})[0];
  network.net->train();
  const auto expected = network.scores("taylor").at("4.weight") + (other * network.weight("4.weight")).abs();
  expect_close(network.scores("multi_task").at("4.weight"), expected);
}

TEST(Criteria, PathsAvoidZerosAndLeaveWhatTheyDoNotTakeForTheLast) {
  CriteriaNet network;
  {
    const at::NoGradGuard no_grad;
    network.net->named_parameters()["4.weight"].slice(0, 0, 6).zero_();
  }
  const auto scores = network.scores("random_path");
  EXPECT_TRUE(scores.at("4.weight").slice(0, 0, 6).eq(0).all().item<bool>());
  EXPECT_TRUE(scores.at("4.weight").slice(0, 6, 18).gt(0).all().item<bool>());
  double first = 1;
  for (const auto& [name, each] : scores) {
    EXPECT_LE(each.max().item<double>(), 1);
    first = std::min(first, each.masked_select(each.gt(0)).min().item<double>());
  }
  EXPECT_NEAR(first, 1.0 / 1001, 1e-7);  // of the first path
  EXPECT_EQ(scores.at("7.weight").max().item<double>(), 1);  // 4,500 weights, 1,000 paths
}

TEST(Criteria, TestsAreOfTheUnitsOfThePattern) {
  CriteriaNet network;
  const auto units = at::stack(network.gradients("7.weight")).view({3, 5, 2, 90, 5}).mean({2, 4});
  const auto t = units.mean(0).abs() / (units.std(at::IntArrayRef{0}, /*unbiased=*/true) / std::sqrt(3.0));
  const auto scores = network.scores("t_test", "2x5").at("7.weight").view({5, 2, 90, 5});
  expect_close(scores, t.nan_to_num(0).view({5, 1, 90, 1}).expand({5, 2, 90, 5}));
  const auto flat = units.flatten(1);
  const auto means = flat.mean(0);
  const double between = 3 * (means - means.mean()).square().sum().item<double>() / 449;
  const double within = (flat - means).square().sum().item<double>() / (450 * 2);
  const auto f = network.scores("f_test", "2x5").at("7.weight");
  EXPECT_NEAR(f[0][0].item<double>(), between / within, 1e-5 * between / within);
  EXPECT_TRUE(f.eq(f[0][0]).all().item<bool>());
}

TEST(Criteria, NormsAndDrawsAreOfTheUnitsOfThePattern) {
  CriteriaNet network;
  const auto weight = network.weight("7.weight");
  const auto blocks = weight.to(at::kDouble).view({5, 2, 90, 5});
  expect_close(network.scores("l1", "2x5").at("7.weight").view({5, 2, 90, 5}), blocks.abs().mean({1, 3}, true).expand({5, 2, 90, 5}));
  expect_close(network.scores("l2", "2x5").at("7.weight").view({5, 2, 90, 5}), blocks.square().mean({1, 3}, true).sqrt().expand({5, 2, 90, 5}));
  expect_close(network.scores("linf", "2x5").at("7.weight").view({5, 2, 90, 5}), blocks.abs().amax({1, 3}, true).expand({5, 2, 90, 5}));
  expect_close(network.scores("l1", "2:4").at("7.weight"), weight.abs());
  EXPECT_TRUE(network.scores("random", "2x5").at("7.weight").equal(random_importance(weight, {2, 5}, 0, 2)));
  EXPECT_TRUE(network.scores("fpgm").at("4.weight").equal(fpgm_importance(network.weight("4.weight"))));
}

TEST(Criteria, NormalisedScoresAreSharesOfTheLayer) {
  CriteriaNet network;
  const auto plain = network.scores("l1"), sum = network.scores("l1/sum"), lamp = network.scores("l1/lamp");
  for (const auto& [name, scores] : plain) {
    expect_close(sum.at(name), scores / scores.sum(at::kDouble));
    const auto flat = scores.flatten().to(at::kDouble);
    const auto [sorted, order] = flat.sort();
    const auto suffix = sorted.flip({0}).cumsum(0).flip({0});
    expect_close(lamp.at(name).flatten().index_select(0, order), sorted / suffix);
  }
}

TEST(Criteria, GivenScoresCountInPlaceOfTheCriterion) {
  CriteriaNet network;
  auto options = network.options("lamp");
  const auto weight = network.weight("7.weight");
  options.importance_scores = {{"7.weight", -weight.square()}};  // their magnitudes count
  options.ignored_layers = {"0", "4"};
  options.energy = Budget::percent(70);
  const auto given = make_plan(*network.net, network.forward(), options);
  EXPECT_EQ(given.importance, "importance_scores");
  options.importance_scores.clear();
  options.importance = "magnitude";
  const auto named = make_plan(*network.net, network.forward(), options);
  ASSERT_EQ(given.masks.size(), 1u);
  EXPECT_TRUE(given.masks.at("7.weight").equal(named.masks.at("7.weight")));
  EXPECT_EQ(given.energy_j, named.energy_j);
}

template <typename Error, typename Call>
void expect_error(const std::string& message, const Call& call) {
  try {
    call();
    FAIL() << "expected: " << message;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what_without_backtrace();
  }
}

TEST(Criteria, WhatTheyLackIsNamed) {
  CriteriaNet network;
  const auto plan_with = [&](const PrunerOptions& options) { return [&network, options] { make_plan(*network.net, network.forward(), options); }; };
  auto options = network.options("wanda");
  options.data = nullptr;
  expect_error<c10::ValueError>("data: importance 'wanda' needs a callable", plan_with(options));
  options = network.options("fisher/sum");
  options.loss = nullptr;
  expect_error<c10::ValueError>("loss: importance 'fisher/sum' needs a callable", plan_with(options));
  options = network.options("wanda");
  options.data = [] {};
  expect_error<c10::ValueError>("no batch went through the layer of '0.weight'", plan_with(options));
  options = network.options("fisher");
  options.loss = [](const TakeLoss&) {};
  expect_error<c10::ValueError>("loss: importance 'fisher': expected a callable that gives at least one loss", plan_with(options));
  options.loss = [](const TakeLoss& take) { take(at::ones({2})); };
  expect_error<c10::ValueError>("expected a scalar that depends on the weights, got a tensor of sizes [2] without gradients", plan_with(options));
  options = network.options("t_test");
  options.loss = [&](const TakeLoss& take) { take(network.loss_of(network.batches[0])); };
  expect_error<c10::ValueError>("'t_test' needs at least 2 batches, got 1", plan_with(options));
  for (const char* name : {"nowhere", "l1/", "l1/max", "/sum", ""}) {
    expect_error<PatternError>("alone or followed by /sum or /lamp, got \"" + std::string(name) + "\"", plan_with(network.options(name)));
  }
  options = network.options("lamp");
  options.importance_scores = {{"1.weight", at::ones({12})}};
  expect_error<c10::ValueError>("importance_scores: expected names of prunable weights, got '1.weight'", plan_with(options));
  options.importance_scores = {{"7.weight", at::ones({10})}};
  expect_error<c10::ValueError>("importance_scores: '7.weight': expected scores of sizes [10, 450], got [10]", plan_with(options));
}

TEST(Criteria, ActivationsOfRecurrentLayersAreRefused) {
  const torch::nn::LSTM lstm(8, 8);
  const auto x = at::randn({3, 2, 8});
  const auto run = [&] { const_cast<torch::nn::LSTM&>(lstm)->forward(x); };
  expect_error<c10::ValueError>("'weight_ih_l0': expected the weight of a Linear, Conv1d or Conv2d, got that of op lstm", [&] {
    make_plan(*lstm.ptr(), {run, 2}, {.energy = Budget::percent(50), .profile = Profile::load("eyeriss-65nm"), .importance = "wanda", .data = run});
  });
}

}  // namespace
}  // namespace jouleprune::tests
