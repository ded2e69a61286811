// Masks on the device, in the emulator: bits that are applied, and the smallest scores that go.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "cuda/mutants.h"
#include "cuda/sweep.h"
#include "cuda/values.h"
#include "masks/apply_bits.h"
#include "masks/smallest.h"
#include "simt/host/launcher.h"

namespace jouleprune::cuda::masks {
namespace {

using simt::host::Access;
using simt::host::GlobalMemory;
using simt::host::Launcher;
using simt::host::Options;
using simt::host::Site;

template <class T>
void check_apply(int64_t count, const Options& options) {
  std::mt19937_64 random(static_cast<uint64_t>(count));
  auto data = random_values<T>(random, count);
  const Array<T> before = [&] {
    Array<T> copy(count);
    std::copy_n(data.data(), count, copy.data());
    return copy;
  }();
  std::vector<uint8_t> bits(static_cast<size_t>((count + 7) / 8));
  std::generate(bits.begin(), bits.end(), [&] { return static_cast<uint8_t>(random()); });
  GlobalMemory memory;
  memory.add("data", data.data(), data.bytes(), Access::kWriteOnce);
  memory.add("bits", bits.data(), bits.size(), Access::kRead);
  Launcher launcher(memory, options);
  const ApplyBitsParams params{data.data(), bits.data(), count};
  launcher.launch<ApplyBits<T>>(ApplyBits<T>::grid(params), 0, params);
  ASSERT_EQ(launcher.problems(), "");
  for (int64_t i = 0; i < count; ++i) {
    const bool kept = bits[static_cast<size_t>(i / 8)] >> (i % 8) & 1;
    ASSERT_EQ(simt::widen(data[i]), kept ? simt::widen(before[i]) : 0) << i;
  }
}

TEST(MaskBodies, ApplyBits) {
  size_t turn = 0;
  for (const int64_t count : {0, 1, 7, 8, 9, 255, 256, 257, 1000}) {
    check_apply<float>(count, schedules(turn++).front());
    check_apply<simt::Half>(count, schedules(turn++).front());
    check_apply<double>(count, schedules(turn++).front());
  }
}

std::string run_smallest(const std::vector<float>& scores, uint32_t amount, Launcher& launcher) {
  const auto count = static_cast<int64_t>(scores.size());
  SelectState state{0, amount};
  std::vector<uint32_t> counts(kDigits), ties(static_cast<size_t>(simt::ceil_div<int64_t>(count, kPerBlock)));
  std::vector<uint8_t> bits(static_cast<size_t>((count + 7) / 8));
  auto& memory = launcher.memory;
  memory.add("scores", scores.data(), scores.size() * 4, Access::kRead);
  memory.add("state", &state, sizeof(state), Access::kReadWrite);
  memory.add("counts", counts.data(), counts.size() * 4, Access::kReadWrite);
  memory.add("ties", ties.data(), ties.size() * 4, Access::kReadWrite);
  memory.add("bits", bits.data(), bits.size(), Access::kWriteAll);
  launch_smallest(launcher, {scores.data(), count, &state, counts.data(), ties.data(), bits.data(), 0});
  if (auto problems = launcher.problems(); !problems.empty()) {
    return problems;
  }
  // What sorting stably would remove.
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return key_of(scores[a]) < key_of(scores[b]); });
  for (size_t i = 0; i < order.size(); ++i) {
    const bool kept = bits[order[i] / 8] >> (order[i] % 8) & 1;
    if (kept != (i >= amount)) {
      return "score " + std::to_string(order[i]) + " of " + std::to_string(count) + ", amount " +
             std::to_string(amount);
    }
  }
  return {};
}

std::vector<float> scores_of(int64_t count, int distinct, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> scores(static_cast<size_t>(count));
  for (auto& score : scores) {
    score = distinct == 0 ? normal(random)
                          : static_cast<float>(static_cast<int>(random() % static_cast<uint64_t>(distinct)) - 1);
  }
  return scores;
}

TEST(MaskBodies, SmallestGoTiesByPosition) {
  size_t turn = 0;
  for (const int64_t count : {1, 2, 9, 100, 2048, 2049, 5000}) {
    for (const int distinct : {0, 1, 3}) {
      const auto scores = scores_of(count, distinct, turn);
      for (const int64_t amount : {int64_t{0}, count / 3, count / 2, count - 1}) {
        GlobalMemory memory;
        Launcher launcher(memory, schedules(turn++).front());
        ASSERT_EQ(run_smallest(scores, static_cast<uint32_t>(amount), launcher), "") << "distinct " << distinct;
      }
    }
  }
}

TEST(MaskBodies, SmallestOrderZerosInfinitiesAndNan) {
  constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> scores = {0.f, -0.f, kNan, -kInf, kInf, -1e-40f, 1e-40f, -kNan, 0.f, 3.f, -3.f};
  EXPECT_EQ(key_of(0.f), key_of(-0.f));
  EXPECT_LT(key_of(kInf), key_of(-kNan));
  for (uint32_t amount = 0; amount < scores.size(); ++amount) {
    GlobalMemory memory;
    Launcher launcher(memory);
    EXPECT_EQ(run_smallest(scores, amount, launcher), "");
  }
}

TEST(MaskBodies, EveryBarrierIsNeeded) {
  const auto scores = scores_of(2500, 3, 1);
  expect_every_barrier_needed([&](const Options& options, std::set<Site>& sites) {
    GlobalMemory memory;
    Launcher launcher(memory, options);
    const auto found = run_smallest(scores, 1200, launcher);
    sites.insert(launcher.report.barriers.begin(), launcher.report.barriers.end());
    return found;
  });
}

}  // namespace
}  // namespace jouleprune::cuda::masks
