// Counts in closed form against a walk through every loop, and against figures worked out by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>

#include "energy/nest/loop_nest.h"
#include "energy/random_nests.h"
#include "energy/walker.h"

namespace jouleprune::test {
namespace {

using namespace energy::nest;

constexpr int kNests = 4000;

std::string described(const RandomNest& nest) {
  std::string text;
  for (const Tensor& tensor : nest.workload.tensors) {
    text += tensor.name + (tensor.read_write ? " (sums)" : "");
    for (const Axis& axis : tensor.axes) {
      text += " [";
      for (const Term& term : axis) text += " " + std::to_string(term.coefficient) + nest.workload.dims[term.dim];
      text += " ]";
    }
    text += "\n";
  }
  for (const MappingLevel& level : nest.mapping.levels) {
    text += level.name + " keeps";
    for (const bool keeps : level.keeps) text += keeps ? " 1" : " 0";
    for (const Loop& loop : level.loops) {
      text += ", " + nest.workload.dims[loop.dim] + std::to_string(loop.bound) + (loop.spatial() ? " in space" : "");
    }
    text += "\n";
  }
  return text;
}

TEST(LoopNest, ClosedFormEqualsWalk) {
  std::mt19937 random(5);
  int64_t compared = 0, spatial = 0, halos = 0;
  for (int i = 0; i < kNests; ++i) {
    const RandomNest nest = random_nest(random);
    const NestCounts counts = count(nest.workload, nest.mapping);
    for (size_t t = 0; t < nest.workload.tensors.size(); ++t) {
      const auto walked = Walker(nest.workload, nest.mapping, t).run();
      size_t at = 0;
      for (size_t level = 0; level < counts.levels.size(); ++level) {
        const TensorCounts& closed = counts.levels[level].tensors[t];
        ASSERT_EQ(closed.kept, nest.mapping.levels[level].keeps[t]);
        if (!closed.kept) continue;
        const Walker::Counts& slow = walked[at++];
        ASSERT_EQ(closed.tile, slow.tile) << described(nest);
        ASSERT_EQ(closed.accesses.reads, slow.reads) << described(nest) << level << " " << t;
        ASSERT_EQ(closed.accesses.fills, slow.fills) << described(nest) << level << " " << t;
        ASSERT_EQ(closed.accesses.updates, slow.updates) << described(nest) << level << " " << t;
        ++compared;
        halos += closed.accesses.fills % closed.tile != 0;
      }
    }
    spatial += counts.instances > 1;
  }
  // The sample must hold what it is meant to test.
  EXPECT_GT(compared, 3 * kNests);
  EXPECT_GT(spatial, kNests / 4);
  EXPECT_GT(halos, kNests / 20);
}

/// Conv1D of P outputs and R taps: W[R], I[P + R], O[P].
Workload conv1d(int64_t p, int64_t r) {
  return {{"P", "R"}, {p, r}, {{"W", {{{1, 1}}}, false}, {"I", {{{0, 1}, {1, 1}}}, false}, {"O", {{{0, 1}}}, true}}};
}

TEST(LoopNest, HaloIsFetchedOnce) {
  Mapping mapping;
  mapping.levels.push_back({"outer", {true, true, true}, {{0, 16}}});
  mapping.levels.push_back({"inner", {true, true, true}, {{1, 3}}});
  const NestCounts counts = count(conv1d(16, 3), mapping);
  EXPECT_EQ(counts.levels[1].tensors[1].tile, 3);
  EXPECT_EQ(counts.levels[1].tensors[1].accesses.fills, 18);  // 3, then 15 times 1
  EXPECT_EQ(counts.levels[0].tensors[0].accesses.reads, 3);   // weights stay
  EXPECT_EQ(counts.levels[1].tensors[2].accesses.reads, 32);  // 48 updates less 16 first ones
}

TEST(LoopNest, StartingAgainFetchesTheWholeTile) {
  // P moves outside R: when R starts again the window is fetched whole.
  Mapping mapping;
  mapping.levels.push_back({"outer", {true, true, true}, {{0, 4}, {1, 3}}});
  mapping.levels.push_back({"inner", {true, true, true}, {{0, 4}}});
  const NestCounts counts = count(conv1d(16, 3), mapping);
  // Each of the 4 rounds: 4 words, then 1 and 1 more.
  EXPECT_EQ(counts.levels[1].tensors[1].accesses.fills, 24);
}

TEST(LoopNest, SpatialWindowsShareEqualTilesOnly) {
  // Diagonals of P x R units: 3 + 2 - 1 different inputs, 3 weights, 2 outputs.
  Mapping mapping;
  mapping.levels.push_back({"memory", {true, true, true}, {{0, 2, LoopKind::kSpatialX}, {1, 3, LoopKind::kSpatialY}}});
  const NestCounts counts = count(conv1d(2, 3), mapping);
  EXPECT_EQ(counts.instances, 6);
  EXPECT_EQ(counts.levels[0].tensors[0].accesses.reads, 3);
  EXPECT_EQ(counts.levels[0].tensors[1].accesses.reads, 4);
  EXPECT_EQ(counts.levels[0].tensors[2].accesses.updates, 2);
}

TEST(LoopNest, SplittingALoopInTimeKeepsArithmetic) {
  std::mt19937 random(6);
  for (int i = 0; i < 200; ++i) {
    const RandomNest nest = random_nest(random);
    const NestCounts counts = count(nest.workload, nest.mapping);
    int64_t macs = 1;
    for (const int64_t bound : nest.workload.bounds) macs *= bound;
    EXPECT_EQ(counts.macs(), macs);
  }
}

TEST(LoopNest, RefusesWhatDoesNotFactor) {
  Mapping mapping;
  mapping.levels.push_back({"memory", {true, true, true}, {{0, 8}, {1, 3}}});
  EXPECT_THROW(count(conv1d(16, 3), mapping), std::invalid_argument);
  mapping.levels[0].loops[0].bound = 16;
  mapping.levels[0].keeps[1] = false;
  EXPECT_THROW(count(conv1d(16, 3), mapping), std::invalid_argument);
}

TEST(LoopNest, RefusesCountsThatOverflow) {
  Mapping mapping;
  mapping.levels.push_back({"memory", {true, true, true}, {{0, int64_t{1} << 40}, {1, int64_t{1} << 40}}});
  EXPECT_THROW(count(conv1d(int64_t{1} << 40, int64_t{1} << 40), mapping), std::invalid_argument);
}

}  // namespace
}  // namespace jouleprune::test
