// Rounds of pruning, the floor under a metric, and the rewind of kept weights.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/rand.h>
#include <gtest/gtest.h>
#include <jouleprune/rewind.h>
#include <jouleprune/rounds.h>
#include <torch/nn/functional/loss.h>
#include <torch/optim/sgd.h>

#include <cmath>

#include "prune/networks.h"

namespace jouleprune::tests {
namespace {

const Profile& of_rounds() {
  static const Profile profile = Profile::load("eyeriss-65nm");
  return profile;
}

int64_t kept_of(const torch::nn::Module& module) {
  int64_t kept = 0;
  for (const auto& parameter : module.parameters()) kept += parameter.dim() > 1 ? parameter.ne(0).sum().item<int64_t>() : 0;
  return kept;
}

/// Moves every weight a little, as training would, and keeps pruned ones.
Train nudge(Network& network) {
  return [&network](const Keep& keep) {
    const at::NoGradGuard no_grad;
    for (int step = 0; step < 2; ++step) {
      for (auto& parameter : network.net->parameters()) parameter.add_(0.01 * at::rand_like(parameter));
      keep();
    }
  };
}

template <typename Call>
void refuses(const std::string& message, const Call& call) {
  try {
    call();
    FAIL() << "expected: " << message;
  } catch (const c10::ValueError& error) {
    EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what_without_backtrace();
  }
}

TEST(Iterative, GoesDownInEqualShares) {
  auto network = make_mlp();
  int64_t trained = 0, before = kept_of(*network.net);
  const auto [pruner, rounds] = iterative(*network.net, network.forward(), {.energy = Budget::percent(40), .profile = of_rounds()},
                                          {.train = [&](const Keep& keep) { ++trained; nudge(network)(keep); },
                                           .rounds = 4,
                                           .evaluate = [&] { return static_cast<double>(kept_of(*network.net)); }});
  ASSERT_EQ(rounds.size(), 4u);
  EXPECT_EQ(trained, 4);
  for (size_t i = 0; i < rounds.size(); ++i) {
    EXPECT_EQ(rounds[i].share, static_cast<double>(i + 1) / 4);
    EXPECT_LE(rounds[i].energy_j, pruner.budget_j() + (pruner.dense_j() - pruner.budget_j()) * (1 - rounds[i].share));
    EXPECT_LT(*rounds[i].metric, before);
    before = static_cast<int64_t>(*rounds[i].metric);
  }
  EXPECT_TRUE(pruner.done());
  EXPECT_EQ(rounds.back().energy_j, pruner.energy_j());
}

TEST(Iterative, StopsWhenToldAndFollowsASchedule) {
  auto network = make_mlp();
  const PrunerOptions options{.energy = Budget::percent(40), .profile = of_rounds()};
  auto stopped = iterative(*network.net, network.forward(), options,
                           {.train = nudge(network), .stop = [](const Round& round) { return round.share > 0.3; }});
  EXPECT_EQ(stopped.second.size(), 2u);
  EXPECT_FALSE(stopped.first.done());
  EXPECT_FALSE(stopped.second[0].metric.has_value());
  stopped.first.remove();
  auto fresh = make_mlp();
  const auto [pruner, rounds] = iterative(*fresh.net, fresh.forward(), options,
                                          {.train = nudge(fresh), .rounds = 4, .schedule = MultiStep{.milestones = {1, 3}, .values = {0.6, 1}}});
  EXPECT_EQ(rounds[0].energy_j, pruner.dense_j());
  EXPECT_EQ(rounds[1].energy_j, rounds[2].energy_j);
  EXPECT_LT(rounds[3].energy_j, rounds[2].energy_j);
  EXPECT_TRUE(pruner.done());
}

TEST(Iterative, RefusesWhatItCannotDo) {
  auto network = make_mlp();
  PrunerOptions options{.energy = Budget::percent(40), .profile = of_rounds()};
  const auto call = [&](const IterativeOptions& how) { return [&, how] { iterative(*network.net, network.forward(), options, how); }; };
  refuses("train: expected a callable", call({}));
  refuses("rounds: expected a whole number of at least 1, got 0", call({.train = nudge(network), .rounds = 0}));
  refuses("rounds: expected enough for the schedule to end, got 5", call({.train = nudge(network), .schedule = LinearDecay{.end_step = 5}}));
  options.schedule = LinearDecay{.end_step = 5};
  refuses("schedule: it is decided here: leave it out of the Pruner's options, got LinearDecay", call({.train = nudge(network)}));
}

/// A metric that falls with the share of weights kept.
double share_kept(Network& network, int64_t dense) { return static_cast<double>(kept_of(*network.net)) / static_cast<double>(dense); }

TEST(PruneToFloor, TheFloorHoldsAndIsNearTheEdge) {
  auto network = make_mlp();
  const int64_t dense = kept_of(*network.net);
  auto result = prune_to_floor(*network.net, network.forward(), {.profile = of_rounds()},
                               {.evaluate = [&] { return share_kept(network, dense); }, .max_drop = 0.5, .tolerance = 0.02});
  ASSERT_TRUE(result.pruner.has_value());
  EXPECT_EQ(result.dense_metric, 1);
  EXPECT_GE(result.metric, 0.5);
  EXPECT_EQ(result.metric, share_kept(network, dense));
  EXPECT_EQ(result.energy_j, result.pruner->energy_j());
  EXPECT_EQ(result.plan->to_json(), result.pruner->plan().to_json());
  double held = result.dense_j, failed = 0;  // of the joules asked for
  for (const auto& [asked, metric] : result.trials) {
    if (metric >= 0.5) held = std::min(held, asked);
    if (metric < 0.5) failed = std::max(failed, asked);
  }
  EXPECT_EQ(result.pruner->budget_j(), held);
  EXPECT_LT(failed, held);
  EXPECT_LE(held - failed, 0.02 * result.dense_j);
  const auto weight = result.pruner->parameter("0.weight");
  const auto mask = weight.ne(0);
  {
    const at::NoGradGuard no_grad;
    weight.add_(1);
  }
  result.pruner->keep();
  EXPECT_TRUE(weight.ne(0).equal(mask));  // the pruner holds the masks
}

TEST(PruneToFloor, RollsBackWhatDoesNotHold) {
  auto network = make_mlp();
  const auto before = snapshot(*network.net);
  const int64_t dense = kept_of(*network.net);
  const auto evaluate = [&] { return share_kept(network, dense); };
  const auto nothing = prune_to_floor(*network.net, network.forward(), {.profile = of_rounds()},
                                      {.evaluate = evaluate, .max_drop = 0, .train = nudge(network), .tolerance = 0.2});
  EXPECT_FALSE(nothing.pruner.has_value());
  EXPECT_FALSE(nothing.plan.has_value());
  EXPECT_EQ(nothing.energy_j, nothing.dense_j);
  EXPECT_GE(nothing.trials.size(), 3u);
  EXPECT_TRUE(same(before, snapshot(*network.net)));
  const auto all = prune_to_floor(*network.net, network.forward(), {.profile = of_rounds()}, {.evaluate = [] { return 1.0; }});
  ASSERT_EQ(all.trials.size(), 1u);  // the least budget holds: there is nothing to search for
  EXPECT_EQ(all.pruner->budget_j(), all.pruner->minimum_j());
}

TEST(PruneToFloor, ErrorsLeaveTheModuleAsItCame) {
  auto network = make_mlp();
  const auto before = snapshot(*network.net);
  int calls = 0;
  const auto breaks = [&]() -> double { return ++calls == 3 ? NAN : 1.0 / calls; };
  refuses("evaluate: expected a finite metric, got nan",
          [&] { prune_to_floor(*network.net, network.forward(), {.profile = of_rounds()}, {.evaluate = breaks, .train = nudge(network)}); });
  EXPECT_TRUE(same(before, snapshot(*network.net)));
  const auto call = [&](const FloorOptions& how, const PrunerOptions& options) { return [&, how, options] { prune_to_floor(*network.net, network.forward(), options, how); }; };
  const auto one = [] { return 1.0; };
  refuses("evaluate: expected a callable", call({}, {.profile = of_rounds()}));
  refuses("max_drop: expected a finite number of at least 0, got -1", call({.evaluate = one, .max_drop = -1}, {.profile = of_rounds()}));
  refuses("tolerance: expected a finite number above 0, got 0", call({.evaluate = one, .tolerance = 0}, {.profile = of_rounds()}));
  refuses("energy: it is decided here", call({.evaluate = one}, {.energy = Budget::percent(50), .profile = of_rounds()}));
}

TEST(Rewind, BringsKeptWeightsBack) {
  auto network = make_mlp();
  Rewind ticket(*network.net);
  const auto before = snapshot(*network.net);
  nudge(network)([] {});
  Pruner pruner(*network.net, network.forward(), {.energy = Budget::percent(40), .profile = of_rounds()});
  pruner.prune_now();
  const auto mask = pruner.parameter("3.weight").ne(0);
  ticket.rewind(pruner);
  EXPECT_TRUE(pruner.parameter("3.weight").equal(before.at("3.weight") * mask));
  EXPECT_TRUE(network.net->named_parameters()["3.bias"].equal(before.at("3.bias")));
  pruner.remove();
  ticket.rewind();
  EXPECT_TRUE(same(before, snapshot(*network.net)));
  auto other = make_mlp();
  Pruner elsewhere(*other.net, other.forward(), {.energy = Budget::percent(40), .profile = of_rounds()});
  refuses("pruner: expected one of the module that the copy was taken of", [&] { ticket.rewind(elsewhere); });
  network.net->push_back(torch::nn::Linear(10, 10));
  refuses("module: expected the 6 parameters and buffers of the copy, got 8", [&] { ticket.rewind(); });
}

}  // namespace
}  // namespace jouleprune::tests
