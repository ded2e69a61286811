// What goes along with training: masks that move (RigL, SET), the proximal step, and the loss of a teacher.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/rand.h>
#include <gtest/gtest.h>
#include <jouleprune/distil.h>
#include <jouleprune/ops.h>
#include <jouleprune/ops_criteria.h>
#include <jouleprune/proximal.h>
#include <jouleprune/regrow.h>
#include <jouleprune/value_errors.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/functional/loss.h>

#include <cmath>

#include "prune/networks.h"

namespace jouleprune::tests {
namespace {

struct Regrown {
  Network network = make_mlp();
  Pruner pruner{*network.net, network.forward(), {.energy = Budget::percent(40), .profile = Profile::load("eyeriss-65nm")}};
  Regrown() { pruner.prune_now(); }
  at::Tensor kept(const std::string& name) { return unpack_mask(pruner.plan().masks.at(name), pruner.parameter(name).sizes()).to(at::kBool); }
  void backward() { network.net->forward(network.input).square().sum().backward(); }
};

template <typename Error, typename Call>
void expect_message(const std::string& message, const Call& call) {
  try {
    call();
    FAIL() << "expected: " << message;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what_without_backtrace();
  }
}

TEST(Regrow, DropsTheSmallestAndGrowsTheLargestGradients) {
  Regrown regrown;
  Regrow regrow(regrown.pruner, {.end_step = 10, .frequency = 2, .share = 0.4});
  regrown.backward();
  regrow.step();  // 0
  regrow.step();  // 1
  regrown.network.net->zero_grad();
  const double energy_j = regrown.pruner.energy_j();
  const auto before = regrown.kept("3.weight");
  const auto weight = regrown.pruner.parameter("3.weight").detach().clone();
  torch::manual_seed(1);
  const auto dense = torch::autograd::grad({regrown.network.net->forward(regrown.network.input).square().sum()},
                                           {regrown.pruner.parameter("3.weight")})[0];
  torch::manual_seed(1);  // the same dropout
  regrown.network.net->zero_grad();
  regrown.backward();
  regrow.step();  // 2: masks move; autograd::grad was watched, too
  const auto after = regrown.kept("3.weight");
  const auto count = before.sum().item<int64_t>();
  EXPECT_EQ(after.sum().item<int64_t>(), count);
  EXPECT_EQ(regrown.pruner.energy_j(), energy_j);
  const auto amount = static_cast<int64_t>(0.2 * (1 + std::cos(M_PI * 2 / 10)) * static_cast<double>(count));
  const auto stays = before.logical_and(after), dropped = before.logical_and(after.logical_not()), grown = after.logical_and(before.logical_not());
  EXPECT_GT(amount, 0);
  EXPECT_EQ(dropped.sum().item<int64_t>(), amount);
  EXPECT_EQ(grown.sum().item<int64_t>(), amount);
  EXPECT_LE(weight.abs().masked_select(dropped).max().item<double>(), weight.abs().masked_select(stays).min().item<double>());
  const auto smallest_grown = dense.abs().masked_select(grown).min().item<double>();
  EXPECT_GE(smallest_grown, dense.abs().masked_select(before.logical_not().logical_and(after.logical_not())).max().item<double>());
  EXPECT_TRUE(regrown.pruner.parameter("3.weight").masked_select(grown).eq(0).all().item<bool>());
  EXPECT_TRUE(regrown.pruner.parameter("3.weight").masked_select(after.logical_not()).eq(0).all().item<bool>());
}

TEST(Regrow, AtRandomIsSeededAndResumes) {
  const RegrowOptions options{.end_step = 20, .frequency = 3, .grow = "random", .seed = 7};
  Regrown one, two;
  Regrow first(one.pruner, options), second(two.pruner, options);
  for (int i = 0; i < 5; ++i) first.step(), second.step();
  EXPECT_TRUE(one.kept("0.weight").equal(two.kept("0.weight")));
  Regrown three;
  three.pruner.load_state_dict(one.pruner.state_dict());
  Regrow third(three.pruner, options);
  third.load_state_dict(first.state_dict());
  for (int i = 0; i < 6; ++i) first.step(), third.step();
  for (const char* name : {"0.weight", "3.weight", "5.weight"}) EXPECT_TRUE(one.kept(name).equal(three.kept(name))) << name;
  EXPECT_FALSE(one.kept("0.weight").equal(two.kept("0.weight")));
  expect_message<c10::ValueError>("state: expected schema 1 with a step", [&] { third.load_state_dict(c10::IValue(3)); });
}

TEST(Regrow, RefusesWhatItCannotDo) {
  Regrown regrown;
  const auto call = [&](const RegrowOptions& options) { return [&, options] { Regrow(regrown.pruner, options); }; };
  expect_message<c10::ValueError>("end_step: expected a whole number of at least 1, got 0", call({}));
  expect_message<c10::ValueError>("frequency: expected", call({.end_step = 5, .frequency = 0}));
  expect_message<c10::ValueError>("share: expected a number in (0, 1), got 1", call({.end_step = 5, .share = 1}));
  expect_message<c10::ValueError>("grow: expected one of gradient, random, got 'all'", call({.end_step = 5, .grow = "all"}));
  Regrow regrow(regrown.pruner, {.end_step = 5, .frequency = 1});
  regrow.step();
  expect_message<c10::ValueError>("had no backward pass in the step that moves masks", [&] { regrow.step(); });
  auto network = make_mlp();
  Pruner fresh(*network.net, network.forward(), {.energy = Budget::percent(40), .profile = Profile::load("eyeriss-65nm")});
  expect_message<c10::ValueError>("pruner: expected one that is done", [&] { Regrow(fresh, {.end_step = 5}); });
}

TEST(Proximal, ThePenaltyIsScaledByJoules) {
  auto network = make_cnn();
  Proximal proximal(*network.net, network.forward(), {.profile = Profile::load("eyeriss-65nm"), .strength = 0.1});
  const auto plan = make_plan(*network.net, network.forward(), {.energy = Budget::percent(100), .profile = Profile::load("eyeriss-65nm")});
  double sum = 0, weights = 0;
  const auto parameters = network.net->named_parameters();
  const auto per_weight = [&](const LayerPlan& layer) { return layer.dense_j / static_cast<double>(parameters[layer.weight].numel()); };
  const auto& first = plan.layers.front();
  for (const auto& layer : plan.layers) {
    const double ratio = proximal.scales().at(layer.weight) / proximal.scales().at(first.weight);
    EXPECT_NEAR(ratio, per_weight(layer) / per_weight(first), 1e-12 * ratio);
    sum += proximal.scales().at(layer.weight) * static_cast<double>(parameters[layer.weight].numel());
    weights += static_cast<double>(parameters[layer.weight].numel());
  }
  EXPECT_NEAR(sum, weights, 1e-9 * weights);
  const auto before = snapshot(*network.net);
  proximal.step(0.01);
  for (const auto& [name, scale] : proximal.scales()) {
    const auto& weight = before.at(name);
    const auto expected = weight.sign() * (weight.abs() - 0.01 * 0.1 * scale).clamp_min(0);
    EXPECT_TRUE(parameters[name].allclose(expected, 1e-5, 1e-8)) << name;
  }
}

/// Proximal gradient descent on least squares stops where the optimality conditions of the group lasso hold.
TEST(Proximal, TrainingReachesTheGroupLassoSolution) {
  torch::manual_seed(2);
  torch::nn::Sequential net(torch::nn::Linear(torch::nn::LinearOptions(16, 8).bias(false)));
  net->to(at::kDouble);
  const auto x = at::randn({200, 16}, at::kDouble);
  const auto y = x.matmul((at::randn({8, 16}, at::kDouble) * at::rand({8, 16}).lt(0.3)).t());
  Proximal proximal(*net, {[&] { net->forward(x.slice(0, 0, 1)); }, 1}, {.profile = Profile::load("eyeriss-65nm"), .strength = 0.15, .pattern = "1x8"});
  auto weight = net->parameters()[0];
  const auto gradient = [&] { return torch::autograd::grad({(net->forward(x) - y).square().sum() / 200}, {weight})[0]; };
  for (int step = 0; step < 600; ++step) {
    const auto grad = gradient();
    const at::NoGradGuard no_grad;
    weight.sub_(0.1 * grad);
    proximal.step(0.1);
  }
  const auto grad = gradient().view({8, 2, 8});
  const auto units = weight.detach().view({8, 2, 8});
  const double bound = 0.15 * std::sqrt(8.0);
  int zeros = 0;
  for (int64_t i = 0; i < 16; ++i) {
    const auto u = units[i / 2][i % 2], g = grad[i / 2][i % 2];
    if (u.eq(0).all().item<bool>()) {
      ++zeros;
      EXPECT_LE(g.norm().item<double>(), bound * (1 + 1e-6));
    } else {
      EXPECT_TRUE(g.allclose(-bound * u / u.norm(), 1e-3, 1e-5));
    }
  }
  EXPECT_GT(zeros, 0);
}

TEST(Proximal, RefusesWhatItCannotDo) {
  auto network = make_mlp();
  const auto call = [&](const ProximalOptions& options) { return [&, options] { Proximal(*network.net, network.forward(), options); }; };
  const auto profile = Profile::load("eyeriss-65nm");
  expect_message<c10::ValueError>("strength: expected a finite number of at least 0, got -1", call({.profile = profile, .strength = -1}));
  expect_message<c10::ValueError>("pattern: expected 'unstructured' or blocks 'RxC', got '2:4'", call({.profile = profile, .pattern = "2:4"}));
  expect_message<PatternError>("0x4", call({.profile = profile, .pattern = "0x4"}));
  expect_message<ProfileError>("profile", call({}));
  Proximal proximal(*network.net, network.forward(), {.profile = profile, .strength = 0.1});
  expect_message<c10::ValueError>("lr: expected a finite number of at least 0, got nan", [&] { proximal.step(NAN); });
}

TEST(DistillationLoss, IsItsDefinition) {
  torch::manual_seed(4);
  auto student = at::randn({5, 3, 7}, at::kDouble).requires_grad_(true);
  auto teacher = at::randn({5, 3, 7}, at::kDouble).requires_grad_(true);
  const auto target = at::randint(7, {5, 3}, at::kLong);
  const auto p = (teacher.detach() / 3).softmax(2), q = (student.detach() / 3).softmax(2);
  const double kl = (p * (p / q).log()).sum(2).mean().item<double>();
  const double hard = -student.detach().log_softmax(2).gather(2, target.unsqueeze(2)).mean().item<double>();
  const auto loss = distillation_loss(student, teacher, target, 3, 0.7);
  EXPECT_NEAR(loss.item<double>(), 0.7 * 9 * kl + 0.3 * hard, 1e-12);
  EXPECT_NEAR(distillation_loss(student, teacher, std::nullopt, 3).item<double>(), 9 * kl, 1e-12);
  loss.backward();
  EXPECT_TRUE(student.grad().defined());
  EXPECT_FALSE(teacher.grad().defined());
  expect_message<c10::ValueError>("teacher: expected the shape of student, [5, 3, 7], got [5, 7]", [&] { distillation_loss(student, teacher.select(1, 0)); });
  expect_message<c10::ValueError>("temperature: expected a finite number above 0, got 0", [&] { distillation_loss(student, teacher, target, 0); });
  expect_message<c10::ValueError>("weight: expected a share in [0, 1], got 2", [&] { distillation_loss(student, teacher, target, 1, 2); });
}

}  // namespace
}  // namespace jouleprune::tests
