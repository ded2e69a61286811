// The formula of a family of calls, and how far it is off near each measured shape (timing.h), from timed calls.
#pragma once
#include <string>
#include <vector>

#include "energy/calibrate.h"

namespace jouleprune::energy {

/// One timed call of a family.
struct TimedShape {
  std::vector<double> counts;  ///< one per column, finite, not negative
  std::vector<double> at;      ///< sizes in octaves, as many for all calls
  double seconds = 0;          ///< above 0
};

struct FamilyFit {
  std::vector<double> coefficients;   ///< seconds of one of each count, not negative; 0 for those in `dropped`
  std::vector<std::string> dropped;   ///< columns that are always 0, or that the others cannot be told from
  double reach = 1, pull = 1;         ///< octaves; shapes
  std::vector<double> ratios;         ///< measured / formula, one per call
  double mape = 0, worst = 0;         ///< of shapes that were left out, a fifth at a time: |predicted / measured - 1|
  double bias = 0;                    ///< of the same: mean of log(predicted / measured)
};

/// Non-negative least squares on relative errors, reweighted until it is the logarithm of predicted / measured that counts, and large
/// errors count by their size instead of their square; then reach and pull by leaving out one call at a time. Throws
/// std::invalid_argument: fewer than 4 calls, numbers that are not finite or negative, sizes of different length.
FamilyFit fit_family(const std::vector<std::string>& columns, const std::vector<TimedShape>& calls);

}  // namespace jouleprune::energy
