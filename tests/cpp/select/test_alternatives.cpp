// Several ways to prune one weight, against every combination on small networks.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <iostream>
#include <random>

#include "select/bound.h"
#include "select/exact.h"
#include "select/fill.h"
#include "select/search.h"
#include "select/threshold.h"

namespace jouleprune::select::testing {
namespace {

/// Weights with one to three layers (ways to prune them), each with a curve of its own.
struct Network : Joules {
  struct Way {
    size_t group = 0;
    std::vector<float> scores;
    std::vector<double> curve;  // by kept units
    int64_t floor = 0;
    double forced = 0;
  };
  std::vector<double> dense_j;  // by group
  std::vector<Way> ways;

  double dense(size_t layer) override { return dense_j[ways[layer].group]; }
  double pruned(size_t layer, int64_t kept) override { return ways[layer].curve[static_cast<size_t>(kept)]; }
  double total(const Counts& counts) override {
    std::vector<double> joules = dense_j;
    std::vector<int> pruned_ways(dense_j.size());
    for (size_t i = 0; i < counts.size(); ++i) {
      if (counts[i] == kDense) continue;
      joules[ways[i].group] = pruned(i, counts[i]);
      EXPECT_EQ(++pruned_ways[ways[i].group], 1) << "two ways of one weight at once";
    }
    double sum = 1;  // other ops
    for (const double each : joules) sum += each;
    return sum;
  }

  Problem problem(double budget_j) {
    Problem made{{}, this, budget_j};
    for (const Way& way : ways) {
      std::vector<Point> points;
      const auto units = static_cast<int64_t>(way.scores.size());
      for (int64_t kept = way.floor; kept <= units; ++kept) {
        points.push_back({kept, way.curve[static_cast<size_t>(kept)]});
        if (points.back().joules >= dense_j[way.group]) break;
      }
      made.layers.push_back({Ranking(way.scores, "w"), Hull(points), way.floor, way.group, way.forced});
    }
    return made;
  }
  double minimum_j() {
    std::vector<double> least = dense_j;
    for (const Way& way : ways) least[way.group] = std::min(least[way.group], way.curve[static_cast<size_t>(way.floor)]);
    double sum = 1;
    for (const double each : least) sum += each;
    return sum;
  }
};

Network drawn(std::mt19937_64& engine) {
  const auto real = [&] { return static_cast<double>(engine() >> 11) * 0x1p-53; };
  Network made;
  const size_t groups = 1 + engine() % 3;
  for (size_t group = 0; group < groups; ++group) {
    made.dense_j.push_back(1 + 4 * real());
    const size_t ways = 1 + engine() % 3;
    for (size_t way = 0; way < ways; ++way) {
      const size_t units = 1 + engine() % 5;
      Network::Way next{group, {}, {0.3 * real()}, static_cast<int64_t>(engine() % 2), way == 2 ? real() / 4 : 0};
      for (size_t unit = 0; unit < units; ++unit) {
        next.scores.push_back(static_cast<float>(engine() % 4 == 0 ? 0 : real() / static_cast<double>(units)));
        next.curve.push_back(next.curve.back() + 5 * real() / static_cast<double>(units));
      }
      made.ways.push_back(std::move(next));
    }
  }
  return made;
}

/// Least importance lost within the budget over all choices; infinity when none fits.
double brute_force(Network& network, double budget_j, size_t group = 0, Counts counts = {}) {
  if (counts.empty()) counts.assign(network.ways.size(), kDense);
  if (group == network.dense_j.size()) {
    if (network.total(counts) > budget_j) return std::numeric_limits<double>::infinity();
    double lost = 0;
    for (size_t i = 0; i < counts.size(); ++i) {
      if (counts[i] == kDense) continue;
      Ranking ranking(network.ways[i].scores, "w");
      lost += network.ways[i].forced + ranking.lost(counts[i]);
    }
    return lost;
  }
  double least = brute_force(network, budget_j, group + 1, counts);
  for (size_t i = 0; i < counts.size(); ++i) {
    if (network.ways[i].group != group) continue;
    for (int64_t kept = network.ways[i].floor; kept <= static_cast<int64_t>(network.ways[i].scores.size()); ++kept) {
      counts[i] = kept;
      least = std::min(least, brute_force(network, budget_j, group + 1, counts));
    }
    counts[i] = kDense;
  }
  return least;
}

TEST(Alternatives, SmallNetworksLoseTheLeastThereIs) {
  std::mt19937_64 engine(4);
  std::vector<double> flips_gap;
  int exact = 0;
  for (int c = 0; c < 1500; ++c) {
    Network network = drawn(engine);
    const double dense_j = network.total(Counts(network.ways.size(), kDense));
    const double budget_j = network.minimum_j() + (dense_j - network.minimum_j()) * static_cast<double>(c % 11) / 11;
    Problem problem = network.problem(budget_j);
    const std::vector<bool> all(network.ways.size(), true);
    const auto chosen = choose(problem, all);
    ASSERT_TRUE(chosen.has_value());
    const double least = brute_force(network, budget_j);
    double importance = 0;
    for (const Network::Way& way : network.ways) {
      for (const float score : way.scores) importance += static_cast<double>(score);
    }
    EXPECT_LE(chosen->energy_j, budget_j);
    EXPECT_EQ(chosen->energy_j, network.total(chosen->counts));
    if (has_alternatives(problem)) {
      EXPECT_NEAR(chosen->lost, least, 1e-9) << c;
      EXPECT_TRUE(chosen->energy_j > 0.99 * budget_j || is_maximal(problem, chosen->counts));
      ++exact;
    }
    // What large networks get is close to it, and the bound never above it.
    std::vector<bool> could(all.size());
    for (size_t i = 0; i < could.size(); ++i) could[i] = settled(problem, i, problem.layers[i].floor) != kDense;
    const auto flipped = choose_by_flips(problem, could);
    ASSERT_TRUE(flipped.has_value());
    EXPECT_LE(flipped->energy_j, budget_j);
    EXPECT_GE(flipped->lost, least - 1e-9);
    flips_gap.push_back(importance > 0 ? (flipped->lost - least) / importance : 0);
    std::vector<Slot> slots;
    for (size_t i = 0; i < could.size(); ++i) slots.push_back({could[i], could[i] ? problem.layers[i].floor : kDense});
    EXPECT_LE(least_lost(problem, could, price_at_budget(problem, slots)), least + 1e-9) << c;
  }
  EXPECT_GT(exact, 500);
  std::sort(flips_gap.begin(), flips_gap.end());
  const auto at = [&](double share) {
    return flips_gap[static_cast<size_t>(share * static_cast<double>(flips_gap.size() - 1))];
  };
  std::cout << "by flips, gap to the optimum as a share of all importance: median " << at(0.5) << ", 90 % " << at(0.9)
            << ", worst " << at(1) << "\n";
  EXPECT_LE(at(0.5), 0.005);
  EXPECT_LE(at(0.9), 0.05);
}

TEST(Alternatives, LargeNetworksComeCloseToTheBound) {
  std::mt19937_64 engine(9);
  const auto real = [&] { return static_cast<double>(engine() >> 11) * 0x1p-53; };
  Network network;
  for (size_t group = 0; group < 20; ++group) {
    network.dense_j.push_back(10);
    for (size_t way = 0; way < 3; ++way) {
      const size_t units = way == 0 ? 2000 : 500;
      const double top = 14 - 3 * static_cast<double>(way);
      Network::Way next{group, {}, {0.1}, 0, way == 2 ? 3 * real() : 0};
      for (size_t unit = 0; unit < units; ++unit) {
        next.scores.push_back(static_cast<float>(real() * 4000.0 / static_cast<double>(units)));
        next.curve.push_back(next.curve.back() + top / static_cast<double>(units));
      }
      network.ways.push_back(std::move(next));
    }
  }
  const std::vector<bool> all(network.ways.size(), true);
  const double dense_j = network.total(Counts(network.ways.size(), kDense));
  for (const double share : {0.8, 0.5, 0.2}) {
    Problem problem = network.problem(dense_j * share);
    EXPECT_FALSE(choose_exactly(problem, all).has_value());
    const auto chosen = choose(problem, all);
    ASSERT_TRUE(chosen.has_value());
    std::vector<Slot> slots;
    for (const Layer& layer : problem.layers) slots.push_back({true, layer.floor});
    const double bound = least_lost(problem, all, price_at_budget(problem, slots));
    EXPECT_LE(bound, chosen->lost * (1 + 1e-9));
    EXPECT_LE(chosen->lost, 1.02 * bound) << share;
    EXPECT_LE(chosen->energy_j, problem.budget_j);
  }
}

}  // namespace
}  // namespace jouleprune::select::testing
