#include "select/blocks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "kernels/products.h"

namespace jouleprune::select {
namespace {
using kernels::serial;
using kernels::csr::testing::threads;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Norms {
  std::vector<double> norms;
  std::vector<char> left;
};

template <class Score>
Norms norms_of(const std::vector<Score>& scores, const std::vector<char>& left, const Blocks& blocks, double p,
               const kernels::ParallelFor& parallel = serial) {
  const size_t units = static_cast<size_t>(blocks.down() * blocks.across());
  Norms out{std::vector<double>(units, -1), std::vector<char>(units, 2)};
  unit_norms(scores.data(), left.empty() ? nullptr : reinterpret_cast<const bool*>(left.data()), blocks, p,
             out.norms.data(), reinterpret_cast<bool*>(out.left.data()), parallel);
  return out;
}

/// One unit after the other, entry by entry.
template <class Score>
Norms norms_by_definition(const std::vector<Score>& scores, const std::vector<char>& left, const Blocks& blocks,
                          double p) {
  Norms out;
  for (int64_t down = 0; down < blocks.down(); ++down) {
    for (int64_t across = 0; across < blocks.across(); ++across) {
      double sum = 0, most = 0, entries = 0;
      bool any = false;
      for (int64_t row = down * blocks.r; row < std::min((down + 1) * blocks.r, blocks.rows); ++row) {
        for (int64_t col = across * blocks.c; col < std::min((across + 1) * blocks.c, blocks.cols); ++col) {
          const size_t at = static_cast<size_t>(row * blocks.cols + col);
          ++entries;
          if (!left.empty() && left[at] == 0) continue;
          any = true;
          sum += std::pow(std::abs(static_cast<double>(scores[at])), p);
          most = std::max(most, std::abs(static_cast<double>(scores[at])));
        }
      }
      out.norms.push_back(p == kInfinity ? most : std::pow(sum / entries, 1 / p));
      out.left.push_back(any);
    }
  }
  return out;
}

template <class Score>
void expect_norms(const Blocks& blocks) {
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  std::vector<Score> scores;
  std::vector<char> left;
  for (int64_t i = 0; i < blocks.rows * blocks.cols; ++i) {
    scores.push_back(static_cast<Score>(normal(random)));
    left.push_back(random() % 3 == 0);
  }
  for (const double p : {1.0, 2.0, 0.5, 3.0, kInfinity}) {
    for (const auto& mask : {left, std::vector<char>{}}) {
      const Norms expected = norms_by_definition(scores, mask, blocks, p), norms = norms_of(scores, mask, blocks, p);
      EXPECT_EQ(norms.left, expected.left);
      for (size_t i = 0; i < expected.norms.size(); ++i) {
        EXPECT_NEAR(norms.norms[i], expected.norms[i], 1e-12 * (1 + expected.norms[i])) << i << " p " << p;
      }
      const Norms threaded = norms_of(scores, mask, blocks, p, threads(3));
      EXPECT_EQ(threaded.norms, norms.norms);
      EXPECT_EQ(threaded.left, norms.left);
    }
  }
}

const std::vector<Blocks> kBlocks{{1, 1, 1, 1}, {5, 7, 4, 3}, {17, 1, 16, 1}, {3, 9, 1, 4}, {8, 8, 2, 8},
                                  {2, 3, 16, 16}, {0, 5, 4, 4}, {5, 0, 4, 4}, {300, 130, 4, 4}};

TEST(UnitNorms, EqualTheirDefinition) {
  for (const Blocks& blocks : kBlocks) {
    expect_norms<float>(blocks);
    expect_norms<double>(blocks);
  }
}

TEST(UnitNorms, ExampleByHand) {
  // Units of 2 x 2; the right ones reach beyond the weight.
  const std::vector<float> scores{3, -4, 1,  //
                                  0, 0,  -7};
  EXPECT_EQ(norms_of(scores, {}, {2, 3, 2, 2}, 1).norms, (std::vector<double>{7.0 / 4, 4}));
  EXPECT_EQ(norms_of(scores, {}, {2, 3, 2, 2}, 2).norms, (std::vector<double>{2.5, 5}));
  EXPECT_EQ(norms_of(scores, {1, 0, 0, 1, 0, 0}, {2, 3, 2, 2}, kInfinity).norms, (std::vector<double>{3, 0}));
  EXPECT_EQ(norms_of(scores, {1, 0, 0, 1, 0, 0}, {2, 3, 2, 2}, 1).left, (std::vector<char>{1, 0}));
}

TEST(UnitNorms, NaNStaysInEveryNorm) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const double p : {1.0, 2.0, 0.5, kInfinity}) {
    for (const auto& scores : {std::vector<float>{nan, 1, 2}, {1, nan, 2}, {1, 2, nan}}) {
      EXPECT_TRUE(std::isnan(norms_of(scores, {}, {1, 3, 1, 3}, p).norms[0])) << p;
    }
  }
}

TEST(UnitNorms, RefusesNormsThatAreNone) {
  for (const double p : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THROW(norms_of(std::vector<float>{1}, {}, {1, 1, 1, 1}, p), std::invalid_argument);
  }
}

TEST(SpreadUnits, EveryEntryFollowsItsUnit) {
  std::mt19937 random(4);
  for (const Blocks& blocks : kBlocks) {
    std::vector<char> units, left;
    for (int64_t i = 0; i < blocks.down() * blocks.across(); ++i) units.push_back(random() % 2 == 0);
    for (int64_t i = 0; i < blocks.rows * blocks.cols; ++i) left.push_back(random() % 4 != 0);
    for (const bool masked : {false, true}) {
      std::vector<char> kept(left.size(), 2);
      spread_units(reinterpret_cast<const bool*>(units.data()),
                   masked ? reinterpret_cast<const bool*>(left.data()) : nullptr, blocks,
                   reinterpret_cast<bool*>(kept.data()), threads(2));
      for (int64_t row = 0; row < blocks.rows; ++row) {
        for (int64_t col = 0; col < blocks.cols; ++col) {
          const size_t at = static_cast<size_t>(row * blocks.cols + col);
          const size_t unit = static_cast<size_t>(row / blocks.r * blocks.across() + col / blocks.c);
          ASSERT_EQ(kept[at], units[unit] && (!masked || left[at])) << row << " " << col;
        }
      }
    }
  }
}

}  // namespace
}  // namespace jouleprune::select
