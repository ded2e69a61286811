// The fitter on sweeps whose coefficients are known.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "energy/calibrate.h"

namespace jouleprune::test {
namespace {

using energy::Fit;
using energy::Observation;

const std::vector<std::string> kColumns = {"launch", "MACs float32", "MACs int8", "bytes DRAM", "bytes L2"};
const std::vector<double> kTruth = {3e-6, 1e-11, 2.5e-12, 6e-11, 8e-12};

/// Calls of four families with sizes over four decades; each in one number type.
std::vector<Observation> sweep(double noise, uint64_t seed, bool longest) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> decades(0, 4);
  std::vector<Observation> found;
  for (const std::string family : {"linear", "conv", "batch1", "sparse"}) {
    for (int i = 0; i < 40; ++i) {
      const double macs = 1e4 * std::pow(10, decades(random)), bytes = 1e3 * std::pow(10, decades(random));
      const bool int8 = i % 2 == 0;
      Observation seen{
          family, {1, int8 ? 0 : macs, int8 ? macs : 0, bytes, 10 * bytes * std::pow(10, decades(random) / 2 - 1)}, 0};
      double sum = 0, most = 0;
      for (size_t j = 1; j < kTruth.size(); ++j) {
        sum += kTruth[j] * seen.features[j];
        most = std::max(most, kTruth[j] * seen.features[j]);
      }
      seen.target = (kTruth[0] + (longest ? most : sum)) * (1 + noise * normal(random));
      found.push_back(seen);
    }
  }
  return found;
}

TEST(Calibrate, WithoutNoiseTheCoefficientsAreFoundExactly) {
  const Fit fit = energy::fit_sum(kColumns, sweep(0, 1, false));
  for (size_t j = 0; j < kTruth.size(); ++j) EXPECT_NEAR(fit.coefficients[j] / kTruth[j], 1, 1e-6) << kColumns[j];
  EXPECT_LT(fit.held_out_worst, 1e-6);
  EXPECT_NEAR(fit.held_out_rank, 1, 1e-12);
}

TEST(Calibrate, ThreePercentOfNoiseMovesThemByLessThanFive) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Fit fit = energy::fit_sum(kColumns, sweep(0.03, seed, false));
    for (size_t j = 0; j < kTruth.size(); ++j)
      EXPECT_NEAR(fit.coefficients[j] / kTruth[j], 1, 0.05) << kColumns[j] << ", seed " << seed;
    EXPECT_EQ(fit.held_out.size(), 4u);
    EXPECT_GT(fit.held_out_mape, 0.01);
    EXPECT_LT(fit.held_out_mape, 0.04);
  }
}

TEST(Calibrate, TheSlowestPartDecides) {
  std::vector<double> start = kTruth;
  for (size_t j = 0; j < start.size(); ++j) start[j] *= j % 2 == 0 ? 2 : 0.5;  // another machine's
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Fit fit = energy::fit_longest(kColumns, sweep(0.03, seed, true), start);
    for (size_t j = 0; j < kTruth.size(); ++j) {
      EXPECT_NEAR(fit.coefficients[j] / kTruth[j], 1, 0.05)
          << kColumns[j] << ", seed " << seed << ", used " << fit.used[j];
    }
    EXPECT_LT(fit.held_out_mape, 0.05);
  }
}

TEST(Calibrate, AColumnThatNeverDecidesKeepsItsStart) {
  std::vector<Observation> seen = sweep(0.01, 3, true);
  for (Observation& one : seen) one.features[4] *= 1e-6;
  std::vector<double> start = kTruth;
  start[4] = 1.25e-11;
  const Fit fit = energy::fit_longest(kColumns, seen, start);
  EXPECT_EQ(fit.coefficients[4], start[4]);
  EXPECT_EQ(fit.used[4], 0);
}

TEST(Calibrate, ColumnsThatCannotBeToldApartAreRefused) {
  std::vector<Observation> seen = sweep(0.03, 4, false);
  std::mt19937_64 random(1);
  for (Observation& one : seen)
    one.features[4] = 7 * one.features[3] * (1 + 1e-3 * std::normal_distribution<double>()(random));
  try {
    energy::fit_sum(kColumns, seen);
    FAIL() << "expected an error";
  } catch (const std::invalid_argument& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("'bytes DRAM'"), std::string::npos) << text;
    EXPECT_NE(text.find("'bytes L2'"), std::string::npos) << text;
    EXPECT_NE(text.find("cannot be told apart"), std::string::npos) << text;
  }
  for (Observation& one : seen) one.features[4] = 7 * one.features[3];  // exactly
  EXPECT_THROW(energy::fit_sum(kColumns, seen), std::invalid_argument);
}

TEST(Calibrate, BadSweepsAreNamed) {
  std::vector<Observation> seen = sweep(0, 5, false);
  const auto message = [](const std::vector<Observation>& observations) -> std::string {
    try {
      energy::fit_sum(kColumns, observations);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(message({seen.begin(), seen.begin() + 4}).find("expected at least 7 for 5 columns, got 4"),
            std::string::npos);
  auto zero = seen;
  for (Observation& one : zero) one.features[2] = 0;
  EXPECT_NE(message(zero).find("'MACs int8' is 0 in every observation"), std::string::npos);
  auto negative = seen;
  negative[3].target = -1;
  EXPECT_NE(message(negative).find("target"), std::string::npos);
  auto odd = seen;
  odd[0].features[1] = std::nan("");
  EXPECT_NE(message(odd).find("'MACs float32'"), std::string::npos);
  EXPECT_THROW(energy::fit_longest(kColumns, seen, {1, 2}), std::invalid_argument);
}

/// Slow and certain.
TEST(Calibrate, LeastSquaresAgainstCoordinateDescent) {
  std::mt19937_64 random(9);
  std::normal_distribution<double> normal;
  const auto residual = [](const auto& rows, const auto& right, const std::vector<double>& x) {
    double squares = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      double left = -right[i];
      for (size_t j = 0; j < x.size(); ++j) left += rows[i][j] * x[j];
      squares += left * left;
    }
    return squares;
  };
  for (int trial = 0; trial < 200; ++trial) {
    constexpr size_t kRows = 9, kCount = 4;
    std::vector<std::vector<double>> rows(kRows, std::vector<double>(kCount));
    std::vector<double> right(kRows);
    for (size_t i = 0; i < kRows; ++i) {
      right[i] = normal(random);
      for (double& value : rows[i]) value = normal(random);
    }
    const auto found = energy::nonnegative_least_squares(rows, right);
    EXPECT_GE(*std::min_element(found.begin(), found.end()), 0);
    // Coordinate descent from 0, long enough: convex, so it ends at the minimum.
    std::vector<double> slow(kCount, 0.0);
    for (int step = 0; step < 4000; ++step) {
      const size_t j = static_cast<size_t>(step) % kCount;
      double top = 0, bottom = 0;
      for (size_t i = 0; i < kRows; ++i) {
        double rest = right[i];
        for (size_t k = 0; k < kCount; ++k) rest -= k == j ? 0 : rows[i][k] * slow[k];
        top += rows[i][j] * rest;
        bottom += rows[i][j] * rows[i][j];
      }
      slow[j] = std::max(0.0, top / bottom);
    }
    EXPECT_NEAR(residual(rows, right, found), residual(rows, right, slow), 1e-9) << trial;
  }
}

}  // namespace
}  // namespace jouleprune::test
