// Schedules, options and reports of the Pruner.
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <jouleprune/ops.h>
#include <jouleprune/prune.h>
#include <jouleprune/value_errors.h>

#include <cmath>
#include <sstream>

#include "prune/networks.h"
#include "prune/schedule.h"

namespace jouleprune::tests {
namespace {

const Profile& eyeriss() {
  static const Profile profile = Profile::load("eyeriss-65nm");
  return profile;
}

int64_t zeros(const torch::nn::Module& module) {
  int64_t count = 0;
  for (const auto& parameter : module.parameters()) {
    count += parameter.numel() - parameter.ne(0).sum().item<int64_t>();
  }
  return count;
}

TEST(Schedule, ConstantIsFinalFromItsStepOn) {
  const Schedule schedule = Constant{.begin_step = 2};
  EXPECT_FALSE(prune::is_final(schedule, 1));
  EXPECT_TRUE(prune::is_final(schedule, 2));
  EXPECT_TRUE(prune::is_final(schedule, 3));
  EXPECT_EQ(prune::share_at(schedule, 1), 0);
  EXPECT_EQ(prune::share_at(schedule, 2), 1);
}

TEST(Schedule, PolynomialFollowsItsFormula) {
  const Schedule schedule = PolynomialDecay{.begin_step = 10, .end_step = 50, .frequency = 7, .power = 3};
  EXPECT_FALSE(prune::updates_at(schedule, 9));
  EXPECT_TRUE(prune::updates_at(schedule, 10));
  EXPECT_FALSE(prune::updates_at(schedule, 11));
  EXPECT_TRUE(prune::updates_at(schedule, 17));
  EXPECT_TRUE(prune::updates_at(schedule, 50));  // not a multiple of the frequency, but the end
  EXPECT_FALSE(prune::updates_at(schedule, 52));
  EXPECT_EQ(prune::share_at(schedule, 10), 0);
  EXPECT_DOUBLE_EQ(prune::share_at(schedule, 30), 1 - std::pow(0.5, 3));
  EXPECT_EQ(prune::share_at(schedule, 50), 1);
  EXPECT_EQ(prune::share_at(PolynomialDecay{.begin_step = 4, .end_step = 4}, 4), 1);
}

// The same numbers stand in tests/python/test_schedule.py.
TEST(Schedule, EachFollowsItsFormulaAsInPython) {
  const auto expect_shares = [](const Schedule& schedule, const std::vector<double>& shares) {
    prune::check_schedule(schedule);
    for (size_t i = 0; i < shares.size(); ++i) {
      EXPECT_NEAR(prune::share_at(schedule, static_cast<int64_t>(5 * i)), shares[i], 1e-12) << i;
    }
  };
  expect_shares(LinearDecay{.begin_step = 5, .end_step = 25, .frequency = 5}, {0, 0, 0.25, 0.5, 0.75, 1, 1});
  expect_shares(LinearDecay{.begin_step = 5, .end_step = 25, .initial = 0.2}, {0.2, 0.2, 0.4, 0.6, 0.8, 1, 1});
  expect_shares(PolynomialDecay{.begin_step = 5, .end_step = 25, .initial = 0.2}, {0.2, 0.2, 0.6625, 0.9, 0.9875, 1, 1});
  expect_shares(CosineDecay{.begin_step = 5, .end_step = 25},
                {0, 0, 0.14644660940672627, 0.5, 0.8535533905932737, 1, 1});
  expect_shares(ExponentialDecay{.begin_step = 5, .end_step = 25, .rate = 2},
                {0, 0, 0.45505423392341127, 0.7310585786300049, 0.8984636759084482, 1, 1});
  expect_shares(ExponentialDecay{.begin_step = 5, .end_step = 25, .rate = 1e-20}, {0, 0, 0.25, 0.5, 0.75, 1, 1});  // linear in the limit
  expect_shares(MultiStep{.milestones = {5, 12, 25}}, {0, 1 / 3.0, 1 / 3.0, 2 / 3.0, 2 / 3.0, 1, 1});
  expect_shares(MultiStep{.milestones = {5, 12, 25}, .values = {0.5, 0.9, 1}}, {0, 0.5, 0.5, 0.9, 0.9, 1, 1});
  expect_shares(OneShot{.begin_step = 10}, {0, 0, 1, 1});
}

TEST(Schedule, UpdatesAndEnds) {
  const Schedule steps = MultiStep{.milestones = {3, 8}};
  for (int64_t step = 0; step < 12; ++step) {
    EXPECT_EQ(prune::updates_at(steps, step), step == 3 || step == 8);
    EXPECT_EQ(prune::is_final(steps, step), step >= 8);
    EXPECT_EQ(prune::updates_at(CosineDecay{.begin_step = 1, .end_step = 9, .frequency = 3}, step),
              step == 1 || step == 4 || step == 7 || step == 9);
  }
}

TEST(Schedule, RefusesWhatIsOutOfOrder) {
  for (const Schedule& bad : std::vector<Schedule>{
           LinearDecay{.begin_step = 3, .end_step = 2}, CosineDecay{.begin_step = -1}, CosineDecay{.frequency = 0},
           ExponentialDecay{.rate = 0}, LinearDecay{.initial = 1.5}, PolynomialDecay{.initial = -0.1}, MultiStep{},
           MultiStep{.milestones = {3, 3}}, MultiStep{.milestones = {1, 2}, .values = {1}},
           MultiStep{.milestones = {1, 2}, .values = {0.5, 0.9}}, MultiStep{.milestones = {1, 2}, .values = {1.5, 1}}}) {
    EXPECT_THROW(prune::check_schedule(bad), c10::ValueError);
  }
}

TEST(Pruner, ConstantPrunesAtTheFirstStep) {
  auto network = make_mlp();
  Pruner pruner(*network.net, network.forward(), {.energy = Budget::percent(50), .profile = eyeriss()});
  EXPECT_FALSE(pruner.done());
  EXPECT_EQ(pruner.energy_j(), pruner.dense_j());
  EXPECT_EQ(zeros(*network.net), 0);
  EXPECT_THROW(pruner.plan(), c10::ValueError);
  pruner.step();
  EXPECT_TRUE(pruner.done());
  EXPECT_EQ(pruner.steps(), 1);
  EXPECT_LE(pruner.energy_j(), 0.5 * pruner.dense_j());
  const auto json = pruner.plan().to_json();
  const auto after_one = zeros(*network.net);
  EXPECT_GT(after_one, 0);
  pruner.step();
  EXPECT_EQ(zeros(*network.net), after_one);
  EXPECT_EQ(pruner.plan().to_json(), json);
}

TEST(Pruner, PolynomialGoesDownToTheBudget) {
  auto network = make_cnn();
  const PolynomialDecay decay{.begin_step = 2, .end_step = 12, .frequency = 3};
  Pruner pruner(*network.net, network.forward(), {.energy = Budget::percent(30), .profile = eyeriss(), .schedule = decay});
  double previous = pruner.dense_j();
  const int64_t dense_zeros = zeros(*network.net);  // the biases of the BatchNorm
  int64_t last = dense_zeros;
  for (int64_t step = 0; step <= 12; ++step) {
    pruner.step();
    EXPECT_LE(pruner.energy_j(), previous) << "step " << step;
    const double target = pruner.budget_j() + (pruner.dense_j() - pruner.budget_j()) * (1 - prune::share_at(decay, step));
    if (step < 12) {
      EXPECT_FALSE(pruner.done());
      EXPECT_GE(zeros(*network.net), last);
    }
    if (step <= 2) {
      EXPECT_EQ(pruner.energy_j(), pruner.dense_j());
      EXPECT_EQ(zeros(*network.net), dense_zeros);
    } else if (step < 12 && prune::updates_at(decay, step)) {
      EXPECT_LE(pruner.energy_j(), target) << "step " << step;
      EXPECT_EQ(pruner.plan().budget_j, pruner.budget_j()) << "step " << step;
      EXPECT_GT(zeros(*network.net), last) << "step " << step;
    }
    last = zeros(*network.net);
    previous = pruner.energy_j();
  }
  EXPECT_TRUE(pruner.done());
  EXPECT_LE(pruner.energy_j(), pruner.budget_j());
  EXPECT_TRUE(pruner.plan().maximal || pruner.energy_j() > 0.99 * pruner.budget_j());
}

TEST(Pruner, PolynomialReachesTheBudgetWhereSparseKernelsNeedABreakEven) {
  auto network = make_mlp();
  const auto profile = Profile::load("generic-cpu");
  const Pruner probe(*network.net, network.forward(), {.energy = Budget::percent(100), .profile = profile});
  const auto budget = Budget::joules((probe.minimum_j() + probe.dense_j()) / 2);
  Pruner pruner(*network.net, network.forward(),
                {.energy = budget, .profile = profile, .schedule = PolynomialDecay{.end_step = 6, .frequency = 2}});
  int64_t last = 0;
  for (int step = 0; step <= 6; ++step) {
    pruner.step();
    EXPECT_GE(zeros(*network.net), last);
    last = zeros(*network.net);
  }
  EXPECT_TRUE(pruner.done());
  EXPECT_LE(pruner.energy_j(), pruner.budget_j());
}

// Relaxed steps prune whole thresholds: many equal scores can take the energy far below the target of a step.
TEST(Pruner, TheLastStepIsMaximalThoughOneBeforeItMetTheBudget) {
  auto network = make_mlp();
  {
    const at::NoGradGuard no_grad;
    for (auto& parameter : network.net->parameters()) {
      parameter.mul_(at::rand_like(parameter).gt(0.8));
    }
  }
  Pruner pruner(*network.net, network.forward(),
                {.energy = Budget::percent(50), .profile = eyeriss(), .schedule = PolynomialDecay{.end_step = 4}});
  for (int step = 0; step < 4; ++step) {
    pruner.step();
    EXPECT_FALSE(pruner.done());
  }
  pruner.step();
  EXPECT_TRUE(pruner.done());
  EXPECT_TRUE(pruner.plan().maximal || pruner.energy_j() > 0.99 * pruner.budget_j());
  EXPECT_LE(pruner.energy_j(), pruner.budget_j());
  EXPECT_GT(pruner.energy_j(), 0.9 * pruner.budget_j());
}

TEST(Pruner, PruneNowSkipsTheSchedule) {
  auto network = make_mlp();
  Pruner pruner(*network.net, network.forward(),
                {.energy = Budget::percent(40), .profile = eyeriss(), .schedule = PolynomialDecay{.end_step = 1000}});
  pruner.step();
  EXPECT_FALSE(pruner.done());
  EXPECT_LE(pruner.prune_now().energy_j, pruner.budget_j());
  EXPECT_TRUE(pruner.done());
}

TEST(Pruner, LeavesIgnoredLayersAndFloorsAlone) {
  auto network = make_mlp();
  Pruner pruner(*network.net, network.forward(),
                {.energy = Budget::percent(90),
                 .profile = eyeriss(),
                 .ignored_layers = {"0", "5.weight"},
                 .min_density = std::map<std::string, double>{{"3", 0.25}}});
  const auto& plan = pruner.prune_now();
  ASSERT_EQ(plan.layers.size(), 1u);
  EXPECT_EQ(plan.layers[0].name, "3");
  EXPECT_GE(plan.layers[0].density, 0.25);
  EXPECT_EQ(network.net->parameters()[0].eq(0).sum().item<int64_t>(), 0);
}

TEST(Pruner, MasksAreTheBitsOfTheZeros) {
  auto network = make_cnn();
  Pruner pruner(*network.net, network.forward(), {.energy = Budget::percent(50), .profile = eyeriss()});
  const auto& plan = pruner.prune_now();
  const auto parameters = network.net->named_parameters();
  ASSERT_FALSE(plan.masks.empty());
  for (const auto& [name, bits] : plan.masks) {
    const auto& weight = parameters[name];
    EXPECT_TRUE(unpack_mask(bits, weight.sizes()).to(at::kBool).equal(weight.ne(0))) << name;
  }
}

TEST(Pruner, EveryCriterionWorks) {
  for (const char* importance : {"lamp", "magnitude", "gradient", "taylor"}) {
    auto network = make_mlp();
    network.net->forward(network.input).square().sum().backward();
    Pruner pruner(*network.net, network.forward(),
                  {.energy = Budget::percent(50), .profile = eyeriss(), .importance = importance});
    EXPECT_EQ(pruner.prune_now().importance, importance);
    EXPECT_LE(pruner.energy_j(), pruner.budget_j());
  }
}

TEST(Pruner, ActivationDensityIsFrozenInThePlan) {
  auto network = make_mlp();
  Pruner dense(*network.net, network.forward(), {.energy = Budget::percent(100), .profile = eyeriss()});
  Pruner half(*network.net, network.forward(), {.energy = Budget::percent(100), .profile = eyeriss(), .activation_density = 0.5});
  Pruner measured(*network.net, network.forward(),
                  {.energy = Budget::percent(100), .profile = eyeriss(), .activation_density = MeasuredActivations{}});
  EXPECT_LT(half.dense_j(), dense.dense_j());
  EXPECT_LT(measured.dense_j(), dense.dense_j());  // ReLU made zeros
  for (const auto& entry : half.prune_now().workload.entries) {
    if (!entry.weight.empty()) {
      EXPECT_EQ(entry.input_density, 0.5);
    }
  }
}

TEST(Pruner, ReportsBeforeAndAfter) {
  auto network = make_mlp();
  Pruner pruner(*network.net, network.forward(), {.energy = Budget::percent(50), .profile = eyeriss()});
  EXPECT_FALSE(pruner.report().plan.has_value());
  pruner.prune_now();
  const auto report = pruner.report();
  EXPECT_EQ(report.before.total_j(), pruner.dense_j());
  EXPECT_EQ(report.after.total_j(), pruner.energy_j());
  std::ostringstream text;
  text << report;
  EXPECT_NE(text.str().find("eyeriss-65nm"), std::string::npos);
  EXPECT_NE(text.str().find("modelled"), std::string::npos);
  EXPECT_NE(report.to_json().find("\"before\""), std::string::npos);
}

TEST(Pruner, KeepsItsModuleAliveAndMoves) {
  auto network = make_mlp();
  auto pruner = std::make_unique<Pruner>(*network.net, network.forward(),
                                         PrunerOptions{.energy = Budget::percent(50), .profile = eyeriss()});
  network = make_mlp();
  Pruner moved = std::move(*pruner);
  pruner.reset();
  moved.step();
  EXPECT_TRUE(moved.done());
}

}  // namespace
}  // namespace jouleprune::tests
