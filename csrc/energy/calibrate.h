// Coefficients of a device from what was measured on it: non-negative least squares on relative errors, and how well
// the result predicts shapes that it has not seen. Plain numbers in and out; what the columns mean is the caller's.
#pragma once
#include <string>
#include <vector>

namespace jouleprune::energy {

/// One measured call.
struct Observation {
  std::string family;            ///< of its shape: families are left out whole when the error is judged
  std::vector<double> features;  ///< one per column, finite, not negative
  double target = 0;             ///< seconds or joules, above 0
};

struct HeldOut {
  std::string family;
  int observations = 0;
  double mape = 0, worst = 0;  ///< |predicted / measured - 1|: mean and largest
};

struct Fit {
  std::vector<double> coefficients;  ///< one per column, not negative
  std::vector<int> used;             ///< observations that determine each column
  std::vector<double> inflation;     ///< variance inflation of each column: 1 = independent of the others
  double mape = 0, worst = 0;        ///< on the observations themselves
  std::vector<HeldOut> held_out;     ///< by family, fitted without it
  double held_out_mape = 0, held_out_worst = 0, held_out_rank = 0;  ///< over all; rank: Spearman's correlation
};

/// target = sum of coefficient x feature, by Lawson and Hanson ("Solving Least Squares Problems", 1974, chapter 23) on
/// rows divided by their target and columns scaled to unit length. Throws std::invalid_argument, naming the column: too
/// few observations, a column of zeros, columns that cannot be told apart.
Fit fit_sum(const std::vector<std::string>& columns, const std::vector<Observation>& observations);

/// target = coefficient[0] x feature[0] + max over the others of coefficient x feature: a call takes as long as the
/// slowest of what it does at the same time. Alternates between choosing each observation's largest term and fit_sum of
/// the chosen ones, from `start`. A column that is the largest of fewer than 3 observations keeps its start. Throws as
/// fit_sum.
Fit fit_longest(const std::vector<std::string>& columns, const std::vector<Observation>& observations,
                const std::vector<double>& start);

/// Coefficients of min |A x - b| with x >= 0, A given by its rows. For tests and for fit_sum.
std::vector<double> nonnegative_least_squares(const std::vector<std::vector<double>>& rows,
                                              const std::vector<double>& right);

}  // namespace jouleprune::energy
