#include "select/units.h"

#include <gtest/gtest.h>
#include <jouleprune/error.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "select/masks.h"

namespace jouleprune::select::testing {
namespace {

struct Size {
  int64_t rows, cols, taps = 1;
  int64_t inputs() const { return cols / taps; }
};
const std::vector<Size> kSizes = {{1, 1},     {3, 5},      {16, 1},      {1, 16},     {7, 9},      {17, 33},   {16, 16}, {32, 48},
                                  {0, 5},     {5, 0},      {3, 15, 3},   {7, 63, 9},  {16, 36, 9}, {6, 9, 9},  {1, 1, 1},
                                  {17, 20, 2}, {33, 72, 9}, {0, 18, 9}, {4, 0, 9}};
const std::vector<std::string> kPatterns = {"1x4", "4x4", "16x1", "16x16", "3x2", "1x3", "2:4", "1:2", "3:5", "1:32", "7:8"};

std::vector<float> drawn(int64_t count, uint64_t seed, bool ties) {
  std::mt19937_64 engine(seed);
  std::vector<float> scores(static_cast<size_t>(count));
  for (float& score : scores) score = ties ? static_cast<float>(engine() % 3) : static_cast<float>(engine() % 100000) / 1000;
  return scores;
}

bool bit(const std::vector<uint8_t>& bits, int64_t i) { return (bits[static_cast<size_t>(i / 8)] >> (i % 8)) & 1; }

std::vector<uint8_t> all_of(int64_t count) {
  std::vector<uint8_t> bits(static_cast<size_t>((count + 7) / 8));
  for (int64_t i = 0; i < count; ++i) bits[static_cast<size_t>(i / 8)] |= static_cast<uint8_t>(1u << (i % 8));
  return bits;
}

/// Which unit each weight belongs to, by the definition; -1: to none.
std::vector<int64_t> members(const Pattern& pattern, Size size, const std::vector<float>& importance) {
  std::vector<int64_t> unit(static_cast<size_t>(size.rows * size.cols), -1);
  int64_t next = 0;
  for (int64_t row = 0; row < size.rows; ++row) {
    for (int64_t col = 0; col < size.cols; ++col) {
      const int64_t i = row * size.cols + col;
      if (pattern.kind == Pattern::Kind::kBlock) {
        const int64_t across = (size.inputs() + pattern.c - 1) / pattern.c, input = col / size.taps, tap = col % size.taps;
        unit[static_cast<size_t>(i)] = (row / pattern.r * across + input / pattern.c) * size.taps + tap;
      } else if (pattern.kind == Pattern::Kind::kUnstructured) {
        unit[static_cast<size_t>(i)] = i;
      } else {
        const int64_t group = col / pattern.m * pattern.m;
        int64_t better = 0;
        for (int64_t other = group; other < std::min(size.cols, group + pattern.m); ++other) {
          const float a = importance[static_cast<size_t>(row * size.cols + other)], b = importance[static_cast<size_t>(i)];
          better += a > b || (a == b && other < col);
        }
        if (better < pattern.n) unit[static_cast<size_t>(i)] = next++;
      }
    }
  }
  return unit;
}

TEST(Pattern, ReadsWhatItWrites) {
  for (const std::string& text : kPatterns) EXPECT_EQ(Pattern::parse(text).text(), text);
  EXPECT_EQ(Pattern::parse("unstructured").text(), "unstructured");
  EXPECT_EQ(Pattern::parse("16x1").r, 16);
  EXPECT_EQ(Pattern::parse("2:4").m, 4);
}

TEST(Pattern, RefusesOthersByName) {
  for (const char* text : {"", "block", "16", "x", "16x", "x1", "0x4", "4x0", "-1x4", "1x1", "4x4x4", "5000x1", "2:2", "3:2", "0:4",
                           "1:33", "2:", ":4", "2:4:8", " 2:4", "99999999999999999999x1"}) {
    try {
      Pattern::parse(text);
      ADD_FAILURE() << text;
    } catch (const core::PatternError& error) {
      EXPECT_NE(std::string(error.what()).find("got \"" + std::string(text) + "\""), std::string::npos) << error.what();
    }
  }
}

TEST(Units, ScoresAndMasksAreThoseOfTheDefinition) {
  uint64_t seed = 1;
  for (const std::string& text : kPatterns) {
    for (const Size size : kSizes) {
      const Pattern pattern = Pattern::parse(text);
      const Units units(pattern, size.rows, size.cols, size.taps);
      ++seed;
      const std::vector<float> importance = drawn(size.rows * size.cols, seed, seed % 2 == 0);
      const std::vector<int64_t> unit = members(pattern, size, importance);
      std::vector<double> sums(static_cast<size_t>(units.count()));
      std::vector<int64_t> sizes(sums.size());
      double forced = 0;
      for (size_t i = 0; i < unit.size(); ++i) {
        if (unit[i] < 0) {
          forced += static_cast<double>(importance[i]);
        } else {
          sums[static_cast<size_t>(unit[i])] += static_cast<double>(importance[i]);
          ++sizes[static_cast<size_t>(unit[i])];
        }
      }
      const UnitScores scores = units.scores(importance, "w");
      ASSERT_EQ(static_cast<int64_t>(scores.scores.size()), units.count()) << text;
      EXPECT_NEAR(scores.forced, forced, 1e-9 * (1 + forced));
      for (size_t u = 0; u < sums.size(); ++u) {
        EXPECT_EQ(scores.scores[u], static_cast<float>(sums[u])) << text << " unit " << u;
        EXPECT_EQ(units.size(static_cast<int64_t>(u), Measure::kWeights), sizes[u]) << text << " unit " << u;
      }
      EXPECT_EQ(units.total(Measure::kWeights), std::accumulate(sizes.begin(), sizes.end(), int64_t{0}));
      // Every other unit stays.
      std::vector<uint8_t> kept = all_of(units.count());
      for (int64_t u = 0; u < units.count(); u += 2) kept[static_cast<size_t>(u / 8)] &= static_cast<uint8_t>(~(1u << (u % 8)));
      const std::vector<uint8_t> mask = units.mask(kept, importance);
      ASSERT_EQ(mask.size(), (unit.size() + 7) / 8);
      for (size_t i = 0; i < unit.size(); ++i) {
        EXPECT_EQ(bit(mask, static_cast<int64_t>(i)), unit[i] >= 0 && unit[i] % 2 == 1) << text << " weight " << i;
      }
      for (int64_t u = 0; u < units.count(); ++u) {
        const auto first = std::find(unit.begin(), unit.end(), u) - unit.begin();
        EXPECT_EQ(units.index(u, importance), pattern.kind == Pattern::Kind::kBlock ? u : first);
      }
    }
  }
}

TEST(Units, SizesOfTheMostImportantOnes) {
  uint64_t seed = 50;
  for (const std::string& text : kPatterns) {
    for (const Size size : kSizes) {
      const Units units(Pattern::parse(text), size.rows, size.cols, size.taps);
      ++seed;
      const std::vector<float> importance = drawn(size.rows * size.cols, seed, seed % 2 == 0);
      const UnitScores scores = units.scores(importance, "w");
      Ranking ranking(scores.scores, "w");
      const KeptSizes exact(units, scores.scores), most(units);
      for (int64_t kept = 0; kept <= units.count(); ++kept) {
        const std::vector<uint8_t> mask = units.mask(mask_bits(ranking, kept), importance);
        int64_t weights = 0, quads = 0;
        for (int64_t row = 0; row < size.rows; ++row) {
          for (int64_t col = 0; col < size.cols; ++col) weights += bit(mask, row * size.cols + col);
          for (int64_t quad = 0; quad < size.inputs(); quad += 4) {
            for (int64_t tap = 0; tap < size.taps; ++tap) {
              bool any = false;
              for (int64_t input = quad; input < std::min(size.inputs(), quad + 4); ++input) {
                any = any || bit(mask, row * size.cols + input * size.taps + tap);
              }
              quads += any;
            }
          }
        }
        EXPECT_EQ(exact.at(kept, Measure::kWeights), weights) << text << " " << kept;
        EXPECT_GE(most.at(kept, Measure::kWeights), weights);
        if (units.pattern().kind != Pattern::Kind::kBlock) continue;
        if (units.pattern().c % 4 == 0) {
          EXPECT_EQ(exact.at(kept, Measure::kQuads), std::min(4 * quads, size.rows * size.cols)) << text << " " << kept;
        }
        const int64_t stored = kept * units.pattern().r * units.pattern().c;
        EXPECT_EQ(exact.at(kept, Measure::kStored), std::min(stored, size.rows * size.cols));
      }
    }
  }
}

TEST(Units, FloorsHoldWhicheverUnitsStay) {
  for (const std::string& text : kPatterns) {
    for (const Size size : kSizes) {
      const Units units(Pattern::parse(text), size.rows, size.cols, size.taps);
      std::vector<int64_t> sizes;
      for (int64_t u = 0; u < units.count(); ++u) sizes.push_back(units.size(u, Measure::kWeights));
      std::sort(sizes.begin(), sizes.end());  // the worst case: the smallest stay
      for (int64_t least = 0; least <= size.rows * size.cols + 1; ++least) {
        int64_t needed = 0, held = 0;
        while (held < least && needed < units.count()) held += sizes[static_cast<size_t>(needed++)];
        EXPECT_EQ(units.units_for(least), held < least ? units.count() + 1 : needed) << text << " " << least;
      }
    }
  }
}

TEST(Units, BadScoresAreNamedByWeight) {
  for (const char* text : {"2x2", "2:4"}) {
    const Units units(Pattern::parse(text), 4, 8);
    std::vector<float> importance(32, 1.0f);
    for (const float bad : {-1.0f, std::nanf(""), std::numeric_limits<float>::infinity()}) {
      importance[13] = bad;
      try {
        units.scores(importance, "fc.weight");
        FAIL();
      } catch (const std::invalid_argument& error) {
        EXPECT_NE(std::string(error.what()).find("fc.weight"), std::string::npos);
        EXPECT_NE(std::string(error.what()).find("index 13"), std::string::npos);
      }
    }
  }
}

TEST(Units, SumsBeyondFloatStayFinite) {
  const Units units(Pattern::parse("1x4"), 1, 4);
  const std::vector<float> importance(4, std::numeric_limits<float>::max());
  EXPECT_EQ(units.scores(importance, "w").scores[0], std::numeric_limits<float>::max());
}

}  // namespace
}  // namespace jouleprune::select::testing
