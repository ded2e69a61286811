// Units of weights on the device, in the emulator, against csrc/select.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "cuda/sweep.h"
#include "cuda/values.h"
#include "kernels/parallel.h"
#include "masks/masks.h"
#include "select/blocks.h"
#include "select/n_of_m.h"
#include "simt/host/launcher.h"

namespace jouleprune::cuda::masks {
namespace {

using simt::host::Access;
using simt::host::GlobalMemory;
using simt::host::Launcher;
using simt::host::Options;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class T>
constexpr ElementType kTypeOf = sizeof(T) == 8                  ? ElementType::kFloat64
                                : sizeof(T) == 4                ? ElementType::kFloat32
                                : std::is_same_v<T, simt::Half> ? ElementType::kFloat16
                                                                : ElementType::kBFloat16;

/// Scores with zeros, ties and a few of no order.
template <class T>
Array<T> scores_of(int64_t count, std::mt19937_64& random, bool with_nan) {
  auto scores = random_values<T>(random, count);
  for (int64_t i = 0; i < count; ++i) {
    if (random() % 4 == 0) scores[i] = from_double<T>(static_cast<double>(random() % 3) - 1);
    if (with_nan && random() % 20 == 0) scores[i] = not_a_number<T>();
  }
  return scores;
}

Array<bool> some_left(int64_t count, std::mt19937_64& random) {
  Array<bool> left(count);
  for (int64_t i = 0; i < count; ++i) left[i] = random() % 3 != 0;
  return left;
}

bool alike(double a, double b, double relative) {
  return std::isnan(b) ? std::isnan(a) : a == b || std::abs(a - b) <= relative * std::abs(b);
}

template <class T>
void check_norms(const select::Blocks& blocks, double p, bool masked, const Options& options) {
  std::mt19937_64 random(options.seed);
  const int64_t count = blocks.rows * blocks.cols, units = blocks.down() * blocks.across();
  const auto scores = scores_of<T>(count, random, p == kInfinity);
  const auto left = some_left(count, random);
  const bool* const mask = masked ? left.data() : nullptr;
  Array<double> norms(units), expected(units);
  Array<bool> units_left(units), expected_left(units);
  GlobalMemory memory;
  memory.add("scores", scores.data(), scores.bytes(), Access::kRead);
  memory.add("left", left.data(), left.bytes(), Access::kRead);
  memory.add("norms", norms.data(), norms.bytes(), Access::kWriteAll);
  memory.add("units left", units_left.data(), units_left.bytes(), Access::kWriteAll);
  Launcher launcher(memory, options);
  const Norm norm = p == 1 ? Norm::kOne : p == 2 ? Norm::kTwo : p == kInfinity ? Norm::kLargest : Norm::kPower;
  launch(launcher, Norms{kTypeOf<T>, {{blocks.rows, blocks.cols, blocks.r, blocks.c, mask}, scores.data(), norm, p, norms.data(), units_left.data()}});
  ASSERT_EQ(launcher.problems(), "");
  std::vector<double> wide(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) wide[static_cast<size_t>(i)] = static_cast<double>(simt::widen(scores[i]));
  select::unit_norms(wide.data(), mask, blocks, p, expected.data(), expected_left.data(), kernels::serial);
  // A thread per unit adds in the CPU's order; lanes that share one do not.
  const double allowed = blocks.r * blocks.c <= 64 ? 0 : 1e-13;
  for (int64_t i = 0; i < units; ++i) {
    ASSERT_TRUE(alike(norms[i], expected[i], allowed)) << "unit " << i << ": " << norms[i] << ", expected " << expected[i];
    ASSERT_EQ(units_left[i], expected_left[i]) << "unit " << i;
  }
}

TEST(UnitBodies, NormsAreThoseOfTheCpu) {
  size_t turn = 0;
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {7, 5}, {16, 64}, {33, 70}, {3, 300}, {0, 4}, {4, 0}}) {
    for (const auto& [r, c] : {std::pair<int64_t, int64_t>{1, 1}, {16, 1}, {1, 4}, {4, 4}, {16, 16}, {1, 300}, {33, 3}, {64, 64}}) {
      // As the ops cut them.
      const select::Blocks blocks{rows, cols, std::min(r, std::max<int64_t>(rows, 1)), std::min(c, std::max<int64_t>(cols, 1))};
      for (const double p : {1.0, 2.0, 3.5, kInfinity}) {
        for (const auto& options : schedules(turn)) {
          const bool masked = turn % 2 == 1;
          if (turn % 4 == 0) {
            check_norms<simt::Half>(blocks, p, masked, options);
          } else if (turn % 4 == 1) {
            check_norms<simt::BFloat16>(blocks, p, masked, options);
          } else if (turn % 4 == 2) {
            check_norms<float>(blocks, p, masked, options);
          } else {
            check_norms<double>(blocks, p, masked, options);
          }
          ASSERT_FALSE(HasFatalFailure()) << rows << " x " << cols << " in " << blocks.r << " x " << blocks.c << ", p " << p;
        }
        turn += turn % 4 == 3 ? 2 : 1;
      }
    }
  }
}

TEST(UnitBodies, MasksSpreadAsOnTheCpu) {
  size_t turn = 0;
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {33, 70}, {3, 300}, {0, 4}}) {
    for (const auto& [r, c] : {std::pair<int64_t, int64_t>{1, 1}, {16, 1}, {4, 3}}) {
      const select::Blocks blocks{rows, cols, std::min(r, std::max<int64_t>(rows, 1)), c};
      for (const auto& options : schedules(turn)) {
        std::mt19937_64 random(turn);
        const auto units = some_left(blocks.down() * blocks.across(), random), left = some_left(rows * cols, random);
        const bool* const mask = turn % 2 == 0 ? nullptr : left.data();
        Array<bool> spread(rows * cols), expected(rows * cols);
        GlobalMemory memory;
        memory.add("units", units.data(), units.bytes(), Access::kRead);
        memory.add("left", left.data(), left.bytes(), Access::kRead);
        memory.add("mask", spread.data(), spread.bytes(), Access::kWriteAll);
        Launcher launcher(memory, options);
        launch(launcher, SpreadUnitsParams{{rows, cols, blocks.r, blocks.c, mask}, units.data(), spread.data()});
        ASSERT_EQ(launcher.problems(), "");
        select::spread_units(units.data(), mask, blocks, expected.data(), kernels::serial);
        for (int64_t i = 0; i < rows * cols; ++i) ASSERT_EQ(spread[i], expected[i]) << i;
      }
      ++turn;
    }
  }
}

template <class T>
void check_n_of_m(const select::Lines& lines, int64_t n, int64_t m, bool masked, const Options& options) {
  std::mt19937_64 random(options.seed);
  const int64_t count = lines.outer * lines.length * lines.inner;
  const auto scores = scores_of<T>(count, random, true);
  const auto left = some_left(count, random);
  const bool* const mask = masked ? left.data() : nullptr;
  Array<bool> kept(count), expected(count);
  GlobalMemory memory;
  memory.add("scores", scores.data(), scores.bytes(), Access::kRead);
  memory.add("left", left.data(), left.bytes(), Access::kRead);
  memory.add("kept", kept.data(), kept.bytes(), Access::kWriteAll);
  Launcher launcher(memory, options);
  launch(launcher, NOfM{kTypeOf<T>, {scores.data(), mask, lines.outer, lines.length, lines.inner, n, m, kept.data()}});
  ASSERT_EQ(launcher.problems(), "");
  std::vector<float> wide(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) wide[static_cast<size_t>(i)] = static_cast<float>(simt::widen(scores[i]));
  select::keep_n_of_m(wide.data(), mask, lines, n, m, expected.data(), kernels::serial);
  for (int64_t i = 0; i < count; ++i) ASSERT_EQ(kept[i], expected[i]) << i;
}

TEST(UnitBodies, NOfMIsThatOfTheCpu) {
  size_t turn = 0;
  for (const auto& lines : {select::Lines{1, 1, 1}, {3, 17, 1}, {2, 9, 5}, {40, 64, 1}, {0, 4, 1}, {1, 0, 3}}) {
    for (const auto& [n, m] : {std::pair<int64_t, int64_t>{2, 4}, {0, 3}, {1, 1}, {5, 8}, {64, 64}}) {
      for (const auto& options : schedules(turn)) {
        if (turn % 3 == 0) {
          check_n_of_m<float>(lines, n, m, turn % 2 == 0, options);
        } else if (turn % 3 == 1) {
          check_n_of_m<simt::Half>(lines, n, m, turn % 2 == 0, options);
        } else {
          check_n_of_m<simt::BFloat16>(lines, n, m, turn % 2 == 0, options);
        }
        ASSERT_FALSE(HasFatalFailure()) << lines.outer << " " << lines.length << " " << lines.inner << ", " << n << ":" << m;
      }
      ++turn;
    }
  }
}

}  // namespace
}  // namespace jouleprune::cuda::masks
