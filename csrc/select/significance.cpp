#include "select/significance.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace jouleprune::select {
namespace {

/// The continued fraction 1 / (1 + d1 / (1 + d2 / (1 + ...))) of DLMF 8.17.22; it converges fast for x < (a + 1) / (a + b + 2).
double beta_fraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300;  // stands for a denominator of 0, as Lentz's method asks
  constexpr double kClose = 1e-16;
  constexpr int kMost = 100000;     // about sqrt(max(a, b)) terms are needed
  const auto off_zero = [](double value) { return std::abs(value) < kTiny ? kTiny : value; };
  double c = 1, d = 1 / off_zero(1 - (a + b) * x / (a + 1)), value = d;
  for (int m = 1; m <= kMost; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / off_zero(1 + even * d);
    c = off_zero(1 + even / c);
    value *= c * d;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / off_zero(1 + odd * d);
    c = off_zero(1 + odd / c);
    value *= c * d;
    if (std::abs(c * d - 1) < kClose) break;
  }
  return value;
}

}  // namespace

double incomplete_beta(double a, double b, double x) {
  if (std::isnan(x)) return x;
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const double front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x));
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double t_test_p(double t, double df) {
  if (std::isinf(t)) return 0;
  return incomplete_beta(df / 2, 0.5, df / (df + t * t));
}

double f_test_p(double f, double df_between, double df_within) {
  if (std::isinf(f)) return 0;
  return incomplete_beta(df_within / 2, df_between / 2, df_within / (df_within + df_between * f));
}

void benjamini_hochberg(std::span<const double> p, double alpha, bool* significant) {
  if (!(alpha >= 0 && alpha <= 1)) throw std::invalid_argument("alpha: expected a share in [0, 1], got " + std::to_string(alpha));
  for (const double each : p) {
    if (!(each >= 0 && each <= 1)) throw std::invalid_argument("p: expected p-values in [0, 1], got " + std::to_string(each));
  }
  std::vector<double> ascending(p.begin(), p.end());
  std::sort(ascending.begin(), ascending.end());
  double largest = -1;  // nothing is significant
  for (size_t k = ascending.size(); k-- > 0;) {
    if (ascending[k] <= static_cast<double>(k + 1) / static_cast<double>(ascending.size()) * alpha) {
      largest = ascending[k];
      break;
    }
  }
  for (size_t i = 0; i < p.size(); ++i) significant[i] = p[i] <= largest;
}

}  // namespace jouleprune::select
