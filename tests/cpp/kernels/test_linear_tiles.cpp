// The loops over matrix tiles, run on tiles in plain C++: processors that have them are rare.
#include "bsr_cases.h"
#include "kernels/amx.h"
#include "kernels/bsr/gathered_body.h"
#include "kernels/bsr/linear_gathered.h"
#include "kernels/bsr/linear_tiles.h"
#include "kernels/bsr/tile_body.h"
#include "model_tiles.h"

namespace jouleprune::kernels::bsr::testing {
namespace {

using kernels::testing::ModelTiles;

void multiply_in_the_model(const TileBands& bands, const BFloat16* input, int64_t stride, int64_t count, int64_t begin, int64_t end,
                           BFloat16* output) {
  ASSERT_EQ(ModelTiles::live, 0);
  multiply_tiles<ModelTiles>(bands, input, stride, count, begin, end, output);
  ASSERT_EQ(ModelTiles::live, 0);
}

/// Odd sizes first; blocks of one and of two strips, of one tile and of several.
std::vector<Case> tile_cases() {
  std::vector<Case> cases = {{0, 3, 4, 16, 32, 0.5},      {1, 0, 4, 16, 32, 0.5},     {1, 3, 0, 16, 32, 0.5},      {1, 1, 1, 16, 32, 1},
                             {17, 1, 33, 32, 32, 1},      {5, 7, 11, 16, 32, 0},      {3, 17, 33, 16, 32, 1, 2},   {16, 16, 32, 16, 32, 1},
                             {33, 49, 65, 32, 64, 0.7},   {64, 64, 64, 32, 32, 1},    {63, 100, 99, 48, 32, 0.6},  {40, 80, 96, 16, 64, 0.5, 5},
                             {100, 130, 200, 64, 96, 0.4}, {192, 96, 320, 32, 32, 0.3, 0, false}, {48, 33, 64, 16, 32, 0.8, 7}};
  std::mt19937 random(9);
  const auto size = [&](int64_t limit) { return static_cast<int64_t>(random() % static_cast<uint64_t>(limit)); };
  for (int i = 0; i < random_cases(60); ++i) {
    cases.push_back({size(100), size(90), size(150), 16 * (1 + size(4)), 32 * (1 + size(3)), std::array{0.0, 0.3, 0.9}[size(3)], size(3),
                     size(2) == 0, static_cast<Activation>(size(4))});
  }
  return cases;
}

void multiply_gathered_in_the_model(const GatheredBands& bands, const BFloat16* panel, int64_t count, int64_t begin, int64_t end,
                                    BFloat16* output) {
  ASSERT_EQ(ModelTiles::live, 0);
  multiply_gathered<ModelTiles>(bands, panel, count, begin, end, output);
  ASSERT_EQ(ModelTiles::live, 0);
}

/// As tile_cases, with blocks of any width.
std::vector<Case> gathered_cases() {
  std::vector<Case> cases = {{0, 3, 4, 16, 1, 0.5},      {1, 0, 4, 16, 1, 0.5},      {1, 3, 0, 16, 1, 0.5},    {1, 1, 1, 16, 1, 1},
                             {17, 1, 33, 32, 1, 1},      {5, 7, 11, 16, 3, 0},       {3, 17, 33, 16, 4, 1, 2}, {16, 16, 32, 16, 1, 1},
                             {33, 49, 65, 32, 2, 0.7},   {64, 64, 64, 32, 1, 1},     {63, 100, 99, 48, 5, 0.6}, {40, 80, 96, 16, 16, 0.5, 5},
                             {70, 130, 200, 64, 7, 0.4}, {99, 96, 320, 16, 1, 0.3, 0, false}, {48, 33, 64, 16, 1, 0.8, 7}};
  std::mt19937 random(19);
  const auto size = [&](int64_t limit) { return static_cast<int64_t>(random() % static_cast<uint64_t>(limit)); };
  for (int i = 0; i < random_cases(60); ++i) {
    cases.push_back({size(100), size(90), size(150), 16 * (1 + size(4)), 1 + size(9), std::array{0.0, 0.3, 0.9}[static_cast<size_t>(size(3))],
                     size(3), size(2) == 0, static_cast<Activation>(size(4))});
  }
  return cases;
}

template <class Linear>
void expect_matches(const std::vector<Case>& cases, const Linear& linear) {
  std::mt19937 random(7);
  for (const Case& c : cases) {
    const auto blocks = random_blocks(c, random);
    const auto bsr = blocks.view();
    const int64_t stride = c.cols + c.gap;
    const auto values = random_values<BFloat16>(bsr, random), bias = random_vector<BFloat16>(c.rows, random);
    const auto input = random_vector<BFloat16>(c.n * stride, random);
    expect_with_threads(expect_linear<BFloat16>(c, bsr, values, input, bias), c.name(), [&](const ParallelFor& parallel) {
      auto output = unwritten<BFloat16>(c.n * c.rows);
      linear(LinearParams<BFloat16>{bsr, values.data(), c.bias ? bias.data() : nullptr, c.activation, c.n, input.data(), stride,
                                    output.data()},
             parallel);
      return output;
    });
  }
}

void expect_tiles_match(const TileKernels& kernels) {
  expect_matches(tile_cases(), [&](const LinearParams<BFloat16>& p, const ParallelFor& parallel) {
    ASSERT_TRUE(has_tiles(p.bsr));
    linear_tiles(p, kernels, parallel);
  });
}

void expect_gathered_match(const GatheredKernels& kernels) {
  for (const auto& cases : {gathered_cases(), tile_cases()}) {
    expect_matches(cases, [&](const LinearParams<BFloat16>& p, const ParallelFor& parallel) {
      ASSERT_TRUE(has_bands(p.bsr));
      linear_gathered(p, kernels, parallel);
    });
  }
}

TEST(LinearTiles, Match) { expect_tiles_match({multiply_in_the_model}); }

TEST(LinearTiles, GatheredMatch) { expect_gathered_match({pack_panel, multiply_gathered_in_the_model}); }

TEST(LinearTiles, MatchOnThisProcessor) {
  if (tile_kernels() == nullptr) {
    GTEST_SKIP() << "matrix tiles of bfloat16: " << tile_state(Tiles::kBFloat16);
  }
  expect_tiles_match(*tile_kernels());
  expect_gathered_match(*gathered_kernels());
}

/// Infinity in an input that a band removed does not show; in one that it kept, it does, and is no NaN.
TEST(LinearTiles, GatheredInputsAloneCount) {
  const std::vector<int32_t> offsets = {0, 1, 2}, columns = {2, 0};
  const std::vector<BFloat16> values(32, narrow<BFloat16>(1.0f));
  const formats::BsrView bsr{32, 3, 16, 1, 2, columns.data(), offsets.data()};
  std::vector<BFloat16> input(16 * 3, narrow<BFloat16>(1.0f)), output(16 * 32);
  input[0] = narrow<BFloat16>(std::numeric_limits<float>::infinity());
  const auto run = [&](const GatheredKernels& kernels) {
    linear_gathered({bsr, values.data(), nullptr, Activation::kNone, 16, input.data(), 3, output.data()}, kernels, serial);
    for (int64_t i = 0; i < 32; ++i) {
      EXPECT_EQ(widen(output[static_cast<size_t>(i)]), i < 16 ? 1.0f : std::numeric_limits<float>::infinity()) << "output " << i;
    }
  };
  run({pack_panel, multiply_gathered_in_the_model});
  if (gathered_kernels() != nullptr) {
    run(*gathered_kernels());
  }
}

TEST(LinearTiles, OtherBlocksHaveNone) {
  EXPECT_FALSE(has_tiles({64, 64, 8, 32}));
  EXPECT_FALSE(has_tiles({64, 64, 16, 16}));
  EXPECT_TRUE(has_tiles({1, 1, 48, 64}));
  EXPECT_FALSE(has_bands({64, 64, 8, 32}));
  EXPECT_TRUE(has_bands({64, 64, 16, 1}));
}

}  // namespace
}  // namespace jouleprune::kernels::bsr::testing
