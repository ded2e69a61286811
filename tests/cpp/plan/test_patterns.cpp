// The planner with patterns of more than single weights: the budget's promise, masks that hold the pattern, exact joules.
#include <gtest/gtest.h>
#include <jouleprune/energy.h>

#include <algorithm>
#include <bit>
#include <map>

#include "curves.h"
#include "energy/profile_data.h"
#include "networks.h"
#include "plan/candidates.h"

namespace jouleprune::plan::testing {
namespace {

struct Prepared {
  Request request;
  std::vector<std::vector<float>> scores;
  Planner planner() const { return Planner(request); }
  std::vector<std::span<const float>> importance() const { return {scores.begin(), scores.end()}; }
};

Prepared prepared(const Workload& workload, const Profile& profile, const std::string& pattern, uint64_t seed) {
  Prepared made{{workload, profile, pattern, "test", {}}, {}};
  Draw draw(seed);
  for (const Entry& entry : workload.entries) {
    if (entry.weight.empty()) continue;
    made.request.weights.push_back({entry.weight});
    made.scores.push_back(draw_scores(draw, static_cast<Scores>(draw.whole(0, 2)), entry.weight_elements));
  }
  return made;
}

bool kept(const MaskBits& mask, int64_t i) { return (mask[static_cast<size_t>(i / 8)] >> (i % 8)) & 1; }

int64_t bits_set(const MaskBits& mask) {
  int64_t set = 0;
  for (const uint8_t byte : mask) set += std::popcount(byte);
  return set;
}

const Entry& entry_of(const Workload& workload, const std::string& weight) {
  return *std::find_if(workload.entries.begin(), workload.entries.end(),
                       [&](const Entry& entry) { return entry.weight == weight; });
}

/// Whether the mask is made of the pattern's units.
void expect_pattern(const MaskBits& mask, const Entry& entry, const select::Pattern& pattern) {
  const auto [rows, cols, taps] = matrix_of(entry);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t col = 0; col < cols; ++col) {
      if (pattern.kind == select::Pattern::Kind::kBlock) {
        const int64_t corner = row / pattern.r * pattern.r * cols + col / taps / pattern.c * pattern.c * taps + col % taps;
        ASSERT_EQ(kept(mask, row * cols + col), kept(mask, corner)) << entry.name << " " << row << " " << col;
      } else if (pattern.kind == select::Pattern::Kind::kNofM && col % pattern.m == 0) {
        int64_t here = 0;
        for (int64_t i = col; i < std::min(cols, col + pattern.m); ++i) here += kept(mask, row * cols + i);
        ASSERT_LE(here, pattern.n) << entry.name << " " << row << " " << col;
      }
    }
  }
}

/// Entries that the layout stores for this mask, counted in the mask itself.
int64_t stored_entries(const MaskBits& mask, const Entry& entry, const LayerPlan& layer) {
  if (layer.layout != "bsr") return bits_set(mask);
  const auto [rows, cols, taps] = matrix_of(entry);
  const int64_t inputs = cols / taps;
  const select::Pattern block = layer.kernel == kInt8Kernel ? select::Pattern::parse("1x4") : select::Pattern::parse(layer.pattern);
  int64_t blocks = 0;
  for (int64_t top = 0; top < rows; top += block.r) {
    for (int64_t left = 0; left < inputs; left += block.c) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        bool any = false;
        for (int64_t row = top; row < std::min(rows, top + block.r); ++row) {
          for (int64_t i = left; i < std::min(inputs, left + block.c); ++i) any = any || kept(mask, row * cols + i * taps + tap);
        }
        blocks += any;
      }
    }
  }
  return std::min(blocks * block.r * block.c, rows * cols);
}

void expect_sound(const Prepared& made, const Result& result) {
  const Plan& plan = result.plan;
  ASSERT_EQ(plan.energy_j, estimate(plan.workload, made.request.profile).energy_j);
  ASSERT_LE(plan.energy_j, plan.budget_j);
  EXPECT_TRUE(plan.energy_j > 0.99 * plan.budget_j || plan.maximal);
  for (size_t i = 0; i < plan.layers.size(); ++i) {
    const LayerPlan& layer = plan.layers[i];
    const Entry& entry = entry_of(plan.workload, layer.weight);
    EXPECT_EQ(plan.decided[i], layer.pattern != "dense");
    if (layer.pattern == "dense") {
      EXPECT_TRUE(result.masks[i].empty());
      EXPECT_EQ(entry.nnz, entry.weight_elements);
      continue;
    }
    const select::Pattern pattern = select::Pattern::parse(layer.pattern);
    ASSERT_EQ(static_cast<int64_t>(result.masks[i].size()), (entry.weight_elements + 7) / 8);
    expect_pattern(result.masks[i], entry, pattern);
    EXPECT_EQ(entry.nnz, stored_entries(result.masks[i], entry, layer)) << layer.name << " " << layer.kernel;
    EXPECT_EQ(layer.density, static_cast<double>(bits_set(result.masks[i])) / static_cast<double>(entry.weight_elements));
    double lost = 0;
    for (int64_t w = 0; w < entry.weight_elements; ++w) {
      if (!kept(result.masks[i], w)) lost += static_cast<double>(made.scores[i][static_cast<size_t>(w)]);
    }
    EXPECT_NEAR(layer.importance_lost, lost, 1e-5 * (1 + lost));
  }
}

TEST(AutoPatterns, OfBfloat16HaveTheBlockOfMatrixTiles) {
  Request request = prepared(mlp_workload(1), energy::load_profile("generic-cpu"), "auto", 1).request;
  EXPECT_EQ(patterns_of(request, {}, "float32").size(), 5U);
  const auto patterns = patterns_of(request, {}, "bfloat16");
  ASSERT_EQ(patterns.size(), 6U);
  EXPECT_EQ(patterns.back().r, 32);
  EXPECT_EQ(patterns.back().c, 32);
  request.pattern = "16x1";
  EXPECT_EQ(patterns_of(request, {}, "bfloat16").size(), 1U);
}

class Patterns : public ::testing::TestWithParam<std::string> {};

TEST_P(Patterns, KeepThePromiseOfTheBudget) {
  uint64_t seed = 1;
  for (const char* device : {"generic-cpu", "eyeriss-65nm", "generic-gpu-hbm"}) {
    const Profile profile = energy::load_profile(device);
    for (const Workload& workload : {mlp_workload(1), mlp_workload(64), lenet_workload(1), lenet_workload(8)}) {
      const Prepared made = prepared(workload, profile, GetParam(), ++seed);
      const Planner planner = made.planner();
      EXPECT_EQ(planner.dense_j(), estimate(workload, profile).energy_j);
      for (const double share : {0.0, 0.01, 0.3, 0.7}) {
        const double budget_j = planner.minimum_j() + share * (planner.dense_j() - planner.minimum_j());
        const Result result = planner.select(made.importance(), budget_j);
        expect_sound(made, result);
        const Result again = made.planner().select(made.importance(), budget_j);
        EXPECT_EQ(again.masks, result.masks);
        EXPECT_EQ(again.plan.to_json(), result.plan.to_json());
      }
    }
  }
}

TEST_P(Patterns, StepsOfAScheduleHoldThePattern) {
  const Profile profile = energy::load_profile("generic-cpu");
  const Prepared made = prepared(lenet_workload(8), profile, GetParam(), 5);
  const Planner planner = made.planner();
  const double budget_j = planner.minimum_j() + 0.2 * (planner.dense_j() - planner.minimum_j());
  const std::vector<bool> frozen = planner.select(made.importance(), budget_j).plan.decided;
  for (const double share : {0.9, 0.5, 0.1, 0.0}) {
    const Result step = planner.select_relaxed(made.importance(), budget_j + share * (planner.dense_j() - budget_j), frozen);
    EXPECT_EQ(step.plan.energy_j, estimate(step.plan.workload, profile).energy_j);
    for (size_t i = 0; i < step.masks.size(); ++i) {
      if (step.masks[i].empty()) continue;
      EXPECT_TRUE(frozen[i]);
      const LayerPlan& layer = step.plan.layers[i];
      expect_pattern(step.masks[i], entry_of(step.plan.workload, layer.weight), select::Pattern::parse(layer.pattern));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Patterns,
                         ::testing::Values("1x4", "4x4", "16x1", "32x1", "16x16", "3x2", "2:4", "1:2", "5:7", "auto"),
                         [](const auto& tested) {
                           std::string name = "p" + tested.param;
                           std::replace(name.begin(), name.end(), ':', 'o');
                           return name;
                         });

TEST(PatternPlans, NextUnitIsABlock) {
  const Profile profile = energy::load_profile("generic-cpu");
  const Prepared made = prepared(mlp_workload(64), profile, "16x1", 3);
  const Planner planner = made.planner();
  const Result result = planner.select(made.importance(), planner.dense_j() / 2);
  ASSERT_TRUE(result.plan.next_unit.has_value());
  const size_t i = result.plan.next_unit->weight == "1.weight" ? 0 : 1;
  const auto [rows, cols, taps] = matrix_of(entry_of(result.plan.workload, result.plan.next_unit->weight));
  const int64_t block = result.plan.next_unit->index, top = block / cols * 16, col = block % cols;
  ASSERT_EQ(taps, 1);
  ASSERT_LT(top, rows);
  EXPECT_FALSE(kept(result.masks[i], top * cols + col));  // removed, so it may come back
  EXPECT_GT(result.plan.next_unit->energy_j, 0);
  EXPECT_NE(result.plan.layers[i].reason.find("in blocks of 16x1"), std::string::npos) << result.plan.layers[i].reason;
  EXPECT_NE(result.plan.layers[i].reason.find("the next block would add"), std::string::npos);
}

TEST(PatternPlans, VectorsRunAsBlocksAndConvolutionsAsCsr) {
  const Profile profile = energy::load_profile("generic-cpu");
  const Prepared made = prepared(lenet_workload(8), profile, "16x1", 4);
  const Planner planner = made.planner();
  std::map<std::string, std::string> layouts;
  for (const LayerPlan& layer : planner.select(made.importance(), planner.minimum_j() * 1.05).plan.layers) {
    layouts[layer.name] = layer.layout;
  }
  EXPECT_EQ(layouts["fc1"], "bsr");
  EXPECT_EQ(layouts["conv2"], "csr");
}

TEST(PatternPlans, CallersSayWhichLayoutsTheyRun) {
  const Profile profile = energy::load_profile("generic-cpu");
  Prepared made = prepared(mlp_workload(64), profile, "16x1", 4);
  for (PrunableWeight& weight : made.request.weights) weight.layouts = {"csr"};
  const Planner planner = made.planner();
  for (const LayerPlan& layer : planner.select(made.importance(), planner.minimum_j()).plan.layers) {
    EXPECT_EQ(layer.layout, "csr");
  }
  for (PrunableWeight& weight : made.request.weights) weight.layouts = {"bitmap"};
  EXPECT_EQ(made.planner().minimum_j(), made.planner().dense_j());
  EXPECT_EQ(made.planner().dense_plan().layers[0].reason, "dense: no sparse kernel runs linear in float32 pruned in 16x1");
}

TEST(PatternPlans, Int8OnlyWhereItIsAllowed) {
  const Profile profile = energy::load_profile("generic-cpu");
  Prepared made = prepared(mlp_workload(64), profile, "1x4", 4);
  const Planner own = made.planner();
  for (const LayerPlan& layer : own.select(made.importance(), own.minimum_j() * 1.5).plan.layers) {
    EXPECT_EQ(layer.dtype, "float32");
  }
  made.request.weights[0].dtypes = {"int8"};
  const Planner mixed = made.planner();
  EXPECT_EQ(mixed.dense_j(), own.dense_j());  // percentages refer to the network as it is
  EXPECT_LT(mixed.minimum_j(), own.minimum_j());
  const Result result = mixed.select(made.importance(), mixed.minimum_j() * 1.5);
  expect_sound(made, result);
  EXPECT_EQ(result.plan.layers[0].kernel, "bsr-int8");
  EXPECT_EQ(result.plan.layers[0].dtype, "int8");
  EXPECT_EQ(entry_of(result.plan.workload, "1.weight").dtype, "int8");
  EXPECT_EQ(result.plan.layers[1].dtype, "float32");
  // With room enough nothing is removed: int8 alone saves the joules.
  const Result whole = mixed.select(made.importance(), mixed.dense_j() * 0.8);
  EXPECT_TRUE(whole.masks[0].empty());
  EXPECT_EQ(whole.plan.layers[0].pattern, "dense");
  EXPECT_EQ(whole.plan.layers[0].layout, "bsr");
  EXPECT_NE(whole.plan.layers[0].reason.find("int8, nothing removed"), std::string::npos) << whole.plan.layers[0].reason;
  EXPECT_EQ(whole.plan.energy_j, estimate(whole.plan.workload, profile).energy_j);
}

/// A convolution [out, in / groups, kh, kw] with an image of 12 x 12.
Workload convolution(const std::vector<int64_t>& shape, int64_t groups) {
  constexpr int64_t kPixels = 12 * 12;
  Entry entry = linear_entry("conv", shape[0], shape[1] * shape[2] * shape[3], kPixels);
  entry.op = "conv2d";
  entry.shape = shape;
  entry.groups = groups;
  entry.rows = shape[0] / groups;
  entry.input_elements = shape[1] * groups * kPixels;
  return {{entry}, {}};
}

TEST(PatternPlans, Int8ConvolutionsKeepChannelsAtATap) {
  const Profile profile = energy::load_profile("generic-cpu");
  uint64_t seed = 40;
  std::map<std::string, int> seen;
  for (const auto& [shape, groups] : {std::pair{std::vector<int64_t>{32, 16, 3, 3}, 1}, {{30, 7, 3, 3}, 1}, {{24, 6, 5, 3}, 3},
                                      {{24, 1, 3, 3}, 24}, {{64, 33, 1, 1}, 1}}) {
    for (const char* pattern : {"1x4", "16x4", "1x8", "auto"}) {
      Prepared made = prepared(convolution(shape, groups), profile, pattern, ++seed);
      made.request.weights[0].dtypes = {"int8"};
      made.request.weights[0].layouts = {"csr", "bsr"};
      const Planner planner = made.planner();
      for (const double share : {0.0, 0.1, 0.5}) {
        const Result result = planner.select(made.importance(), planner.minimum_j() + share * (planner.dense_j() - planner.minimum_j()));
        expect_sound(made, result);
        seen[result.plan.layers[0].kernel] += 1;
        const auto [rows, cols, taps] = matrix_of(result.plan.workload.entries[0]);
        EXPECT_EQ(taps, shape[2] * shape[3]);
        EXPECT_EQ(rows * cols, result.plan.workload.entries[0].weight_elements);
      }
    }
  }
  EXPECT_GT(seen["bsr-int8"], 20);
}

TEST(PatternPlans, Int8ConvolutionsOfUnknownShapeStayWhole) {
  const Profile profile = energy::load_profile("generic-cpu");
  Prepared made = prepared(convolution({32, 16, 3, 3}, 1), profile, "1x4", 9);
  made.request.workload.entries[0].shape = {};  // which weights are neighbours in a quad is then unknown
  made.request.weights[0].dtypes = {"int8"};
  const Planner planner = made.planner();
  const Result least = planner.select(made.importance(), planner.minimum_j());
  EXPECT_TRUE(least.plan.layers[0].pattern == "dense" || least.plan.layers[0].kernel != kInt8Kernel) << least.plan.layers[0].reason;
  made.request.workload.entries[0].shape = {32, 16, 1 << 30, 1 << 30};  // a shape that belongs to another weight
  EXPECT_EQ(matrix_of(made.request.workload.entries[0]).taps, 1);
}

TEST(PatternPlans, FloorsCountWeights) {
  const Profile profile = energy::load_profile("generic-cpu");
  for (const char* pattern : {"16x1", "3x5", "2:4"}) {
    Prepared made = prepared(lenet_workload(8), profile, pattern, 4);
    for (PrunableWeight& weight : made.request.weights) weight.min_density = 0.3;
    const Planner planner = made.planner();
    for (const LayerPlan& layer : planner.select(made.importance(), planner.minimum_j()).plan.layers) {
      EXPECT_GE(layer.density, 0.3) << pattern << " " << layer.name;
    }
    for (PrunableWeight& weight : made.request.weights) weight.min_density = 0.6;
    if (std::string(pattern) == "2:4") {
      EXPECT_EQ(made.planner().minimum_j(), made.planner().dense_j());  // more than it keeps
    }
  }
}

TEST(PatternPlans, WeightsMayHaveTheirOwn) {
  const Profile profile = energy::load_profile("generic-cpu");
  Prepared made = prepared(mlp_workload(64), profile, "16x1", 4);
  made.request.weights[1].pattern = "2:4";
  const Planner planner = made.planner();
  const Result result = planner.select(made.importance(), planner.minimum_j());
  expect_sound(made, result);
  EXPECT_EQ(result.plan.layers[0].pattern, "16x1");
  EXPECT_EQ(result.plan.layers[1].pattern, "2:4");
}

}  // namespace
}  // namespace jouleprune::plan::testing
