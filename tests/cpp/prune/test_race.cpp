#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <jouleprune/value_errors.h>

#include <functional>
#include <memory>

#include "prune/networks.h"
#include "prune/race.h"
#include "prune/watch.h"

namespace jouleprune::tests {
namespace {

/// Samples in turn, three of dense at first (how often to repeat); `of(round, sparse)` says what each shows.
prune::Sampler samples(const std::function<prune::Sample(int round, bool sparse)>& of) {
  auto taken = std::make_shared<int>(0);
  return [=](const std::function<void()>& work) {
    work();
    const int position = (*taken)++ - 3;
    return position < 0 ? prune::Sample{1, 1} : of(position / 2, position % 2 == 1);
  };
}
prune::RaceCase linear_case() { return {at::randn({8, 16}), std::nullopt, {}, "linear", {4, 16}}; }
prune::Sample undisturbed(double seconds) { return {seconds, seconds}; }

TEST(Race, ADisturbedRoundIsTakenAgain) {
  plan::TuningTable table("here");
  int rounds = 0;
  const auto race = prune::race(linear_case(), {}, &table, samples([&](int round, bool sparse) {
    rounds = round + 1;
    const double seconds = sparse ? 1 : 2;
    return round % 2 == 0 ? prune::Sample{100 * seconds, seconds} : undisturbed(seconds);
  }));
  EXPECT_EQ(rounds, 14) << "seven of them undisturbed";
  EXPECT_EQ(race.label, "measured");
  EXPECT_EQ(race.dense_s, 2);
  EXPECT_EQ(race.sparse_s, 1);
  EXPECT_EQ(table.size(), 2u);
}

TEST(Race, NoisyTimesDecideButAreNotKept) {
  plan::TuningTable table("here");
  int rounds = 0;
  const auto race = prune::race(linear_case(), {}, &table, samples([&](int round, bool sparse) {
    rounds = round + 1;
    const double seconds = sparse ? 1 : 2;
    return prune::Sample{(round == 5 ? 1.5 : 100) * seconds, seconds};
  }));
  EXPECT_EQ(rounds, 21) << "bounded";
  EXPECT_EQ(race.label, "measured, noisy");
  EXPECT_EQ(race.dense_s, 3);
  EXPECT_EQ(race.sparse_s, 1.5);
  EXPECT_EQ(table.size(), 0u);
  auto both = race;
  both += {1, 1, "measured"};
  EXPECT_EQ(both.label, "measured, noisy");
}

TEST(Race, TimesThatScatterAreNoisyWhateverTheCpuTime) {
  // A thread that waits for another one, which has lost its core, spins: its own CPU time says nothing.
  plan::TuningTable table("here");
  const auto race = prune::race(linear_case(), {}, &table, samples([](int round, bool sparse) {
    return undisturbed((sparse ? 1 : 2) * (1 + 0.5 * round));
  }));
  EXPECT_EQ(race.label, "measured, noisy");
  EXPECT_EQ(race.dense_s, 2);
  EXPECT_EQ(table.size(), 0u);
}

TEST(Race, ComparesMediansWithAMargin) {
  const prune::RaceCase linear{at::randn({8, 16}), std::nullopt, at::randn({8}), "linear", {4, 16}};
  const auto won = prune::race(linear, fixed_timer(3e-4, 1e-4));
  EXPECT_TRUE(won.sparse_wins());
  EXPECT_NEAR(won.dense_s / won.sparse_s, 3, 1e-9);
  EXPECT_EQ(won.label, "measured");
  EXPECT_FALSE(prune::race(linear, fixed_timer(1e-4, 0.98e-4)).sparse_wins());
  EXPECT_TRUE(prune::race(linear, fixed_timer(1e-4, 0.96e-4)).sparse_wins());
}

TEST(Race, MeasuresByItself) {
  prune::RaceCase conv{at::randn({6, 2, 3, 3}), at::zeros({6, 2, 3, 3}), {}, "conv2d", {1, 4, 8, 8}};
  conv.groups = 2;
  conv.padding = {1, 1};
  const auto race = prune::race(conv, {});
  EXPECT_GT(race.dense_s, 0);
  EXPECT_GT(race.sparse_s, 0);
  EXPECT_NE(race.sentence().find("us per pass (measured"), std::string::npos);
}

TEST(Race, LooksUpWhatWasMeasured) {
  const auto linear = linear_case();
  const auto quiet = [] { return samples([](int, bool sparse) { return undisturbed(sparse ? 1 : 2); }); };
  plan::TuningTable table("here");
  const auto first = prune::race(linear, {}, &table, quiet());
  EXPECT_EQ(first.label, "measured");
  EXPECT_EQ(table.size(), 2u);
  const auto again = prune::race(linear, {}, &table);
  EXPECT_EQ(again.label, "measured before");
  EXPECT_EQ(again.dense_s, first.dense_s);
  EXPECT_EQ(again.sparse_s, first.sparse_s);
  auto larger = linear;
  larger.input_sizes = {5, 16};
  EXPECT_EQ(prune::race(larger, {}, &table, quiet()).label, "measured");
  EXPECT_EQ(prune::race(linear, fixed_timer(3e-4, 1e-4), &table).label, "measured");  // the user's own timer
  EXPECT_EQ(table.size(), 4u);
}

TEST(Race, TimesAreKeptBetweenPrograms) {
  const auto linear = linear_case();
  prune::KeptTimes kept;
  prune::race(linear, {}, kept.table(), samples([](int, bool) { return undisturbed(1); }));
  kept.save();
  prune::KeptTimes later;
  EXPECT_EQ(prune::race(linear, {}, later.table()).label, "measured before");
}

TEST(Race, RefusesWhatItCannotRun) {
  EXPECT_THROW(prune::race({at::randn({8, 16}), std::nullopt, {}, "matmul", {4, 16}}, {}), c10::ValueError);
  EXPECT_THROW(prune::race({at::randn({8, 16}), at::zeros({2, 2}), {}, "linear", {4, 16}}, {}), c10::ValueError);
}

TEST(InputSizes, AreThoseOfEachConvolution) {
  auto network = make_cnn(3);
  const auto parameters = network.net->named_parameters();
  const auto sizes = prune::conv_input_sizes(network.forward().run, {{"0.weight", parameters["0.weight"]},
                                                                       {"4.weight", parameters["4.weight"]},
                                                                       {"8.weight", parameters["8.weight"]}});
  EXPECT_EQ(sizes.size(), 2u);
  EXPECT_EQ(sizes.at("0.weight"), (std::vector<std::vector<int64_t>>{{3, 1, 16, 16}}));
  EXPECT_EQ(sizes.at("4.weight"), (std::vector<std::vector<int64_t>>{{3, 8, 8, 8}}));
}

}  // namespace
}  // namespace jouleprune::tests
