// Density models against enumeration.
#include <gtest/gtest.h>

#include <bit>
#include <map>
#include <random>

#include "energy/nest/density.h"

namespace jouleprune::test {
namespace {

using namespace energy::nest;

Box row(int64_t words) { return {{words}, words}; }

void expect_consistent(const Density& density, const Box& tile) {
  double sum = 0, mean = 0;
  for (const auto& [occupancy, chance] : density.distribution(tile)) {
    EXPECT_NEAR(chance, density.probability(tile, occupancy), 1e-12);
    EXPECT_LE(occupancy, density.most(tile));
    sum += chance;
    mean += chance * static_cast<double>(occupancy);
  }
  EXPECT_NEAR(sum, 1, 1e-9);
  EXPECT_NEAR(mean, density.expected(tile), 1e-9 * std::max(1.0, density.expected(tile)));
}

TEST(Density, FixedStructuredRoundsToItsNeighbours) {
  const auto density = fixed_structured(0.25);
  EXPECT_EQ(density->probability(row(16), 4), 1);
  EXPECT_EQ(density->probability(row(1), 0), 0.75);
  EXPECT_EQ(density->probability(row(6), 1), 0.5);
  EXPECT_EQ(density->probability(row(6), 3), 0);
  EXPECT_EQ(density->most(row(6)), 2);
  for (const int64_t words : {1, 2, 3, 7, 64}) expect_consistent(*density, row(words));
}

TEST(Density, HypergeometricEqualsEnumeration) {
  // All placements of 4 non-zeros on 10 words; the tile is the first 3.
  constexpr int kWords = 10, kNonzero = 4, kTile = 3;
  std::map<int, int> placements;
  int all = 0;
  for (unsigned bits = 0; bits < (1u << kWords); ++bits) {
    if (std::popcount(bits) != kNonzero) continue;
    ++placements[std::popcount(bits & ((1u << kTile) - 1))];
    ++all;
  }
  const auto density = hypergeometric(0.4, kWords);
  for (int occupancy = 0; occupancy <= kTile; ++occupancy) {
    EXPECT_NEAR(density->probability(row(kTile), occupancy), static_cast<double>(placements[occupancy]) / all, 1e-14);
  }
  EXPECT_EQ(density->probability(row(kTile), 5), 0);
  EXPECT_EQ(density->probability(row(7), 0), 0);  // 7 words cannot avoid 4 of 10
}

TEST(Density, HypergeometricIsConsistentAtAnySize) {
  for (const int64_t words : {int64_t{2}, int64_t{17}, int64_t{1000}, int64_t{1} << 20}) {
    for (const double share : {0.0, 0.01, 0.5, 0.99, 1.0}) {
      const auto density = hypergeometric(share, words);
      for (const int64_t tile : {int64_t{1}, words / 2, words}) {
        if (tile > 0) expect_consistent(*density, row(tile));
      }
    }
  }
}

TEST(Density, ActualDataCountsItsTiles) {
  std::mt19937 random(3);
  for (int round = 0; round < 50; ++round) {
    const int64_t rows = 1 + static_cast<int64_t>(random() % 7), cols = 1 + static_cast<int64_t>(random() % 9);
    std::string mask;
    for (int64_t i = 0; i < rows * cols; ++i) mask += random() % 3 == 0 ? '1' : '0';
    const auto density = actual_data({rows, cols}, mask);
    const int64_t h = 1 + static_cast<int64_t>(random()) % rows, w = 1 + static_cast<int64_t>(random()) % cols;
    const Box tile{{h, w}, h * w};
    std::map<int64_t, double> histogram;
    double tiles = 0;
    for (int64_t y = 0; y < rows; y += h) {
      for (int64_t x = 0; x < cols; x += w) {
        int64_t nonzero = 0;
        for (int64_t i = y; i < std::min(y + h, rows); ++i) {
          for (int64_t j = x; j < std::min(x + w, cols); ++j) nonzero += mask[static_cast<size_t>(i * cols + j)] == '1';
        }
        ++histogram[nonzero];
        ++tiles;
      }
    }
    for (const auto& [occupancy, count] : histogram)
      EXPECT_DOUBLE_EQ(density->probability(tile, occupancy), count / tiles);
    expect_consistent(*density, tile);
  }
}

TEST(Density, ActualDataInsideAKnownTile) {
  // Rows of 4 hold 0, 1 and 4; pairs inside the row of 1 are one empty and one of one.
  const auto density = actual_data({3, 4}, "000001001111");
  const Box pair{{1, 2}, 2};
  const Known one{{{1, 4}, 4}, 1}, full{{{1, 4}, 4}, 4}, none{{{1, 4}, 4}, 2};
  EXPECT_EQ(density->probability(pair, 0, &one), 0.5);
  EXPECT_EQ(density->probability(pair, 2, &full), 1);
  EXPECT_EQ(density->probability(pair, 1, &none), 0);
}

TEST(Density, ActualDataRefusesAnotherSize) { EXPECT_THROW(actual_data({2, 2}, "010"), std::invalid_argument); }

}  // namespace
}  // namespace jouleprune::test
