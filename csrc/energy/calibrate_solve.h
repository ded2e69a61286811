// Small dense linear algebra of the fitter: normal equations of columns of unit length.
#pragma once
#include <cstddef>
#include <vector>

namespace jouleprune::energy {

using Matrix = std::vector<std::vector<double>>;  ///< rows

/// Largest variance inflation of a column that is fitted. Above it less than a thousandth of the column is its own: 3 % of noise would
/// become 100 % of its coefficient.
inline constexpr double kMostInflation = 1000;

/// A' A of rows.
Matrix gram(const Matrix& rows, size_t columns);
/// Inverse of a symmetric positive definite matrix; empty when it is singular to working precision.
Matrix inverse(const Matrix& symmetric);
/// min |A x - b|, x >= 0, from A'A and A'b.
std::vector<double> nonnegative(const Matrix& gram, const std::vector<double>& projected);

}  // namespace jouleprune::energy
