// Processes that hold parts of the scores select what one process would, to the bit. Here they are threads.
#include <gtest/gtest.h>

#include <barrier>
#include <limits>
#include <mutex>
#include <thread>

#include "curves.h"
#include "energy/profile_data.h"
#include "networks.h"
#include "select/together.h"

namespace jouleprune::plan::testing {
namespace {

/// Sums over threads: each adds its numbers, and all read the sum.
class Threads {
 public:
  explicit Threads(int64_t size) : size_(size), barrier_(size) {}

  select::Together of(int64_t rank) {
    return {rank, size_, [this](std::span<int64_t> numbers) { sum(numbers, counts_); },
            [this](std::span<double> numbers) { sum(numbers, doubles_); }};
  }

 private:
  template <typename Number>
  void sum(std::span<Number> numbers, std::vector<Number>& shared) {
    barrier_.arrive_and_wait();  // nobody reads any more
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (given_++ % size_ == 0) shared.assign(numbers.size(), 0);
      for (size_t i = 0; i < numbers.size(); ++i) shared[i] += numbers[i];
    }
    barrier_.arrive_and_wait();
    std::copy(shared.begin(), shared.end(), numbers.begin());
  }

  int64_t size_, given_ = 0;
  std::barrier<> barrier_;
  std::mutex mutex_;
  std::vector<int64_t> counts_;
  std::vector<double> doubles_;
};

struct Network {
  Request request;
  std::vector<std::vector<float>> scores;

  Network(const Workload& workload, const char* profile, Scores kind) : request{workload, energy::load_profile(profile), "unstructured", "test", {}} {
    Draw draw(5);
    for (const Entry& entry : workload.entries) {
      if (entry.weight.empty()) continue;
      request.weights.push_back({entry.weight, 0.01});
      scores.push_back(draw_scores(draw, kind, entry.weight_elements));
    }
  }
  /// The first of three processes has two fifths of each weight, the second nothing, the third the rest.
  std::vector<std::span<const float>> part(int64_t rank) const {
    std::vector<std::span<const float>> parts;
    for (const std::vector<float>& each : scores) {
      const std::span<const float> all(each);
      const size_t cut = all.size() * 2 / 5;
      parts.push_back(rank == 0 ? all.first(cut) : rank == 1 ? all.subspan(cut, 0) : all.subspan(cut));
    }
    return parts;
  }
};

std::vector<bool> bits_of(const MaskBits& mask, size_t size) {
  std::vector<bool> bits;
  for (size_t i = 0; i < size; ++i) bits.push_back((mask[i / 8] >> (i % 8)) & 1);
  return bits;
}

/// What each of three threads gets.
template <typename Select>
std::vector<Result> in_three(Select select) {
  Threads threads(3);
  std::vector<Result> found(3);
  std::vector<std::thread> running;
  for (int64_t rank = 0; rank < 3; ++rank) {
    running.emplace_back([&, rank] {
      const select::Together together = threads.of(rank);
      found[static_cast<size_t>(rank)] = select(rank, together);
    });
  }
  for (std::thread& each : running) each.join();
  return found;
}

void expect_same(const Network& network, const std::vector<Result>& parts, const Result& whole) {
  for (const Result& part : parts) EXPECT_EQ(part.plan.to_json(), whole.plan.to_json());
  for (size_t group = 0; group < whole.masks.size(); ++group) {
    if (whole.masks[group].empty()) continue;
    std::vector<bool> joined;
    for (int64_t rank = 0; rank < 3; ++rank) {
      const std::vector<bool> bits = bits_of(parts[static_cast<size_t>(rank)].masks[group], network.part(rank)[group].size());
      joined.insert(joined.end(), bits.begin(), bits.end());
    }
    EXPECT_EQ(joined, bits_of(whole.masks[group], network.scores[group].size())) << group;
  }
}

TEST(Together, PartsSelectWhatTheWholeWould) {
  for (const char* profile : {"eyeriss-65nm", "generic-cpu"}) {
    for (const Scores kind : {Scores::kSpread, Scores::kTied}) {
      const Network network(mlp_workload(64), profile, kind);
      const Planner planner(network.request);
      const std::vector<std::span<const float>> all(network.scores.begin(), network.scores.end());
      for (const double share : {0.1, 0.5}) {
        const double budget_j = planner.minimum_j() + share * (planner.dense_j() - planner.minimum_j());
        const Result whole = planner.select(all, budget_j);
        expect_same(network, in_three([&](int64_t rank, const select::Together& together) {
                      return planner.select(network.part(rank), budget_j, nullptr, &together);
                    }), whole);
        const double target_j = (budget_j + planner.dense_j()) / 2;
        const Result step = planner.select_relaxed(all, target_j, whole.plan.decided);
        expect_same(network, in_three([&](int64_t rank, const select::Together& together) {
                      return planner.select_relaxed(network.part(rank), target_j, whole.plan.decided, &together);
                    }), step);
      }
    }
  }
}

TEST(Together, BadScoresOfOneAreAnErrorOfAll) {
  Network network(mlp_workload(1), "eyeriss-65nm", Scores::kSpread);
  const Planner planner(network.request);
  network.scores[0].back() = std::numeric_limits<float>::quiet_NaN();  // on the third
  std::vector<std::string> told(3);
  in_three([&](int64_t rank, const select::Together& together) {
    try {
      planner.select(network.part(rank), planner.dense_j() / 2, nullptr, &together);
    } catch (const std::invalid_argument& error) {
      told[static_cast<size_t>(rank)] = error.what();
    }
    return Result{};
  });
  EXPECT_NE(told[0].find("another process"), std::string::npos) << told[0];
  EXPECT_NE(told[1].find("another process"), std::string::npos) << told[1];
  EXPECT_NE(told[2].find("nan at index"), std::string::npos) << told[2];
}

TEST(Together, OtherPatternsAreRefused) {
  Network network(mlp_workload(1), "eyeriss-65nm", Scores::kSpread);
  network.request.pattern = "4x1";
  const Planner planner(network.request);
  const std::vector<std::span<const float>> all(network.scores.begin(), network.scores.end());
  const select::Together alone{0, 1, [](std::span<int64_t>) {}, [](std::span<double>) {}};
  EXPECT_THROW(planner.select(all, planner.dense_j() / 2, nullptr, &alone), std::invalid_argument);
}

}  // namespace
}  // namespace jouleprune::plan::testing
