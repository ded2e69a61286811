// int8 products over matrix tiles: on tiles in plain C++, and on the processor's where it has them; equal to the reference to the bit.
#include "bsr_int8_cases.h"
#include "kernels/amx.h"
#include "kernels/bsr_int8/panel_kernels.h"
#include "kernels/bsr_int8/tile_body.h"
#include "kernels/bsr_int8/tile_form.h"
#include "model_tiles.h"

namespace jouleprune::kernels::bsr_int8::testing {
namespace {

using csr::testing::threads;
using kernels::testing::ModelTiles;

/// Quads kept by `height` neighbouring rows alike, as masks in blocks of height x 4 leave them.
Structure banded_structure(int64_t rows, int64_t cols, int64_t height, double density, std::mt19937& random) {
  const Structure bands = random_structure((rows + height - 1) / height, cols, density, random);
  Structure structure{rows, cols, {}, {0}};
  for (int64_t r = 0; r < rows; ++r) {
    const auto of = [&](int64_t band) { return bands.col_indices.begin() + bands.row_offsets[static_cast<size_t>(band)]; };
    structure.col_indices.insert(structure.col_indices.end(), of(r / height), of(r / height + 1));
    structure.row_offsets.push_back(static_cast<int32_t>(structure.col_indices.size()));
  }
  return structure;
}

template <class T>
Problem<T> problem_of(const Case& c, int64_t height, std::mt19937& random) {
  Problem<T> problem(c, random);
  if (height > 0) {
    problem.use(banded_structure(c.rows, quads_of(c.in_features), height, c.density, random), random);
  }
  return problem;
}

template <class T>
void expect_matches(const TileKernels& kernels, int random_cases) {
  int64_t turn = 0;
  for_each_case(random_cases, [&](const Case& c, std::mt19937& random) {
    const int64_t height = std::array{0, 16, 32, 48}[static_cast<size_t>(turn++ % 4)];
    auto problem = problem_of<T>(c, height, random);
    const auto expected = problem.run(Isa::kReference);
    problem.params.small_kernels = false;
    problem.params.tile_kernels = &kernels;
    for (int count = 1; count <= 3; ++count) {
      ASSERT_TRUE(same_bits(problem.run(Isa::kAvx512, threads(count)), expected))
          << c.name() << " bands of " << height << " with " << count << " threads";
    }
  });
}

void multiply_in_the_model(const TileWeight& weight, int64_t begin, int64_t end, const int32_t* panel, int64_t width, int32_t* sums) {
  ASSERT_EQ(ModelTiles::live, 0);
  multiply_tiles<ModelTiles>(weight, begin, end, panel, width, sums);
  ASSERT_EQ(ModelTiles::live, 0);
}

TEST(Int8Tiles, Match) {
  if (!has_vnni()) {
    GTEST_SKIP() << "no AVX-512 VNNI, whose panels the tiles read";
  }
  const TileKernels model{multiply_in_the_model};
  expect_matches<float>(model, 60);
}

TEST(Int8Tiles, MatchOnThisProcessor) {
  if (tile_kernels() == nullptr) {
    GTEST_SKIP() << "matrix tiles of int8: " << tile_state(Tiles::kInt8);
  }
  expect_matches<float>(*tile_kernels(), 400);
  expect_matches<BFloat16>(*tile_kernels(), 100);
  expect_matches<Half>(*tile_kernels(), 100);
}

/// Whatever is chosen for a structure, a lost row stays lost and largest sums do not overflow.
TEST(Int8Tiles, NanAndLargestSums) {
  if (tile_kernels() == nullptr) {
    GTEST_SKIP() << "matrix tiles of int8: " << tile_state(Tiles::kInt8);
  }
  std::mt19937 random(3);
  Problem<float> problem({40, 50, 70, 0.6, 0, true, true}, random);
  problem.input[5 * 70 + 69] = std::numeric_limits<float>::quiet_NaN();
  problem.input[21 * 70] = std::numeric_limits<float>::infinity();
  problem.params.tile_kernels = tile_kernels();
  const auto output = problem.run(Isa::kAvx512);
  for (size_t i = 0; i < output.size(); ++i) {
    ASSERT_EQ(std::isnan(output[i]), i / 50 == 5 || i / 50 == 21) << "row " << i / 50;
  }
  Problem<float> largest({18, 2, kMaxInFeatures, 1}, random);
  std::fill(largest.blocks.begin(), largest.blocks.end(), static_cast<int8_t>(-128));
  std::fill(largest.input.begin(), largest.input.end(), -1.0f);
  const auto expected = largest.run(Isa::kReference);
  largest.params.tile_kernels = tile_kernels();
  EXPECT_TRUE(same_bits(largest.run(Isa::kAvx512), expected));
}

TEST(Int8Tiles, StepsOfAStructure) {
  std::mt19937 random(1);
  const auto all = random_structure(64, 48, 1, random);
  const TileCounts dense = count_tiles(all.view());
  EXPECT_EQ(dense.strips, 2);
  EXPECT_EQ(dense.direct, 2 * 3);
  EXPECT_EQ(dense.gathered, 0);

  Structure pairs = banded_structure(64, 64, 16, 0.5, random);  // bands of 16: twice as many quads for 32 rows would not pay
  const TileCounts gathered = count_tiles(pairs.view());
  EXPECT_EQ(gathered.strips, 1);
  EXPECT_GT(gathered.gathered, 0);

  const auto none = random_structure(64, 48, 0, random);
  EXPECT_EQ(count_tiles(none.view()).tiles(), 0);
}

TEST(Int8Tiles, PayWhereTheyAreFull) {
  std::mt19937 random(2);
  const auto structure = [&](double density) { return random_structure(256, 192, density, random); };
  const auto pay = [&](const Structure& s, int64_t n) { return tiles_pay(count_tiles(s.view()), s.view().nnz, n, 2 << 20); };
  EXPECT_TRUE(pay(structure(0.5), 192));
  EXPECT_TRUE(pay(structure(0.5), 9));
  EXPECT_FALSE(pay(structure(0.1), 192));
  EXPECT_FALSE(pay(structure(0.02), 192));
  EXPECT_TRUE(pay(banded_structure(256, 192, 16, 0.25, random), 192));  // shared by 16 rows
}

}  // namespace
}  // namespace jouleprune::kernels::bsr_int8::testing
