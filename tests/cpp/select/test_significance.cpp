#include "select/significance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <numbers>
#include <stdexcept>
#include <vector>

namespace jouleprune::select {
namespace {

/// Simpson's rule on the density of Student's t from 0 to t: what the p-value is by definition.
double t_test_p_by_integration(double t, double df) {
  const double scale = std::exp(std::lgamma((df + 1) / 2) - std::lgamma(df / 2)) / std::sqrt(df * std::numbers::pi);
  const auto density = [&](double x) { return scale * std::pow(1 + x * x / df, -(df + 1) / 2); };
  constexpr int kSteps = 20000;
  double sum = density(0) + density(t);
  for (int i = 1; i < kSteps; ++i) sum += density(t * i / kSteps) * (i % 2 == 1 ? 4 : 2);
  return 1 - 2 * sum * t / (3 * kSteps);
}

TEST(Significance, StudentsTEqualsItsIntegral) {
  for (const double df : {1.0, 2.0, 5.0, 30.0, 999.0}) {
    for (const double t : {0.0, 0.01, 0.7, 1.0, 2.5, 6.0}) {
      EXPECT_NEAR(t_test_p(t, df), t_test_p_by_integration(t, df), 1e-10) << t << " of " << df;
      EXPECT_EQ(t_test_p(-t, df), t_test_p(t, df));
    }
  }
}

TEST(Significance, ClosedForms) {
  for (const double t : {0.1, 1.0, 12.706, 1e6}) {
    EXPECT_NEAR(t_test_p(t, 1) / (2 / std::numbers::pi * std::atan(1 / t)), 1, 1e-12);  // Cauchy
    EXPECT_NEAR(t_test_p(t, 2) / (2 / (std::sqrt(2 + t * t) * (std::sqrt(2 + t * t) + t))), 1, 1e-12);
  }
  for (const double f : {0.0, 0.5, 3.0, 1e4}) {  // of 2 and n degrees: (1 + 2 f / n)^(-n / 2)
    for (const double n : {1.0, 7.0, 100.0}) EXPECT_NEAR(f_test_p(f, 2, n) / std::pow(1 + 2 * f / n, -n / 2), 1, 1e-11) << f << n;
  }
  for (const double t : {0.3, 2.0, 9.0}) EXPECT_NEAR(f_test_p(t * t, 1, 12), t_test_p(t, 12), 1e-14);
  EXPECT_EQ(t_test_p(std::numeric_limits<double>::infinity(), 3), 0);
  EXPECT_EQ(f_test_p(std::numeric_limits<double>::infinity(), 3, 4), 0);
  EXPECT_TRUE(std::isnan(t_test_p(std::nan(""), 3)));
}

TEST(Significance, BetaIsSymmetricAndHoldsFarOut) {
  for (const double x : {1e-9, 0.1, 0.5, 0.999}) {
    for (const double a : {0.5, 3.0, 5e5}) {
      EXPECT_NEAR(incomplete_beta(a, 2, x) + incomplete_beta(2, a, 1 - x), 1, 1e-10);
      EXPECT_NEAR(incomplete_beta(a, 1, x), std::pow(x, a), 1e-9);
    }
  }
}

std::vector<bool> chosen(const std::vector<double>& p, double alpha) {
  const auto out = std::make_unique<bool[]>(p.size() + 1);
  benjamini_hochberg(p, alpha, out.get());
  return std::vector<bool>(out.get(), out.get() + p.size());
}

TEST(Significance, BenjaminiHochbergOnTheExampleOfThePaper) {
  // Section 4.2: of 15 p-values the first four are significant at 0.05.
  const std::vector<double> p{0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344,
                              0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000};
  std::vector<bool> expected(p.size(), false);
  for (size_t i = 0; i < 4; ++i) expected[i] = true;
  EXPECT_EQ(chosen(p, 0.05), expected);
  const std::vector<double> reversed(p.rbegin(), p.rend());
  EXPECT_EQ(chosen(reversed, 0.05), std::vector<bool>(expected.rbegin(), expected.rend()));
}

TEST(Significance, BenjaminiHochbergOddCases) {
  EXPECT_EQ(chosen({}, 0.05), std::vector<bool>{});
  EXPECT_EQ(chosen({0.05}, 0.05), std::vector<bool>{true});
  EXPECT_EQ(chosen({0.06}, 0.05), std::vector<bool>{false});
  EXPECT_EQ(chosen({0.04, 0.05}, 0.05), (std::vector<bool>{true, true}));  // the first alone is above 0.025
  EXPECT_EQ(chosen({0, 0}, 0), (std::vector<bool>{true, true}));
  EXPECT_THROW(chosen({0.5}, 1.5), std::invalid_argument);
  EXPECT_THROW(chosen({std::nan("")}, 0.5), std::invalid_argument);
}

}  // namespace
}  // namespace jouleprune::select
