#include "energy/calibrate_solve.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace jouleprune::energy {
namespace {

constexpr double kSingular = 1e-13;  // of columns of unit length
constexpr double kSatisfied = 1e-12;

/// Solution on the columns that are free, zero elsewhere; empty when they are dependent.
std::vector<double> solve_on(const Matrix& gram, const std::vector<double>& projected, const std::vector<bool>& free) {
  std::vector<size_t> chosen;
  for (size_t j = 0; j < free.size(); ++j) {
    if (free[j]) chosen.push_back(j);
  }
  Matrix part(chosen.size(), std::vector<double>(chosen.size()));
  for (size_t a = 0; a < chosen.size(); ++a) {
    for (size_t b = 0; b < chosen.size(); ++b) part[a][b] = gram[chosen[a]][chosen[b]];
  }
  const Matrix inverted = inverse(part);
  if (inverted.empty() && !chosen.empty()) return {};
  std::vector<double> solution(free.size(), 0.0);
  for (size_t a = 0; a < chosen.size(); ++a) {
    for (size_t b = 0; b < chosen.size(); ++b) solution[chosen[a]] += inverted[a][b] * projected[chosen[b]];
  }
  return solution;
}

}  // namespace

Matrix gram(const Matrix& rows, size_t columns) {
  Matrix product(columns, std::vector<double>(columns, 0.0));
  for (const auto& row : rows) {
    for (size_t a = 0; a < columns; ++a) {
      for (size_t b = 0; b < columns; ++b) product[a][b] += row[a] * row[b];
    }
  }
  return product;
}

Matrix inverse(const Matrix& symmetric) {
  const size_t n = symmetric.size();
  Matrix left = symmetric, right(n, std::vector<double>(n, 0.0));
  for (size_t i = 0; i < n; ++i) right[i][i] = 1;
  for (size_t i = 0; i < n; ++i) {  // Gauss and Jordan; the largest pivot keeps it stable
    size_t pivot = i;
    for (size_t k = i + 1; k < n; ++k) {
      if (std::abs(left[k][i]) > std::abs(left[pivot][i])) pivot = k;
    }
    if (!(std::abs(left[pivot][i]) > kSingular)) return {};
    std::swap(left[i], left[pivot]);
    std::swap(right[i], right[pivot]);
    const double scale = 1 / left[i][i];
    for (size_t j = 0; j < n; ++j) {
      left[i][j] *= scale;
      right[i][j] *= scale;
    }
    for (size_t k = 0; k < n; ++k) {
      const double factor = left[k][i];
      if (k == i || factor == 0) continue;
      for (size_t j = 0; j < n; ++j) {
        left[k][j] -= factor * left[i][j];
        right[k][j] -= factor * right[i][j];
      }
    }
  }
  return right;
}

std::vector<double> nonnegative(const Matrix& gram, const std::vector<double>& projected) {
  const size_t n = projected.size();
  std::vector<double> x(n, 0.0);
  std::vector<bool> free(n, false), refused(n, false);
  for (size_t step = 0; step < 10 * (n + 1); ++step) {
    // The column whose growth from 0 helps most joins.
    size_t best = n;
    double steepest = kSatisfied;
    for (size_t j = 0; j < n; ++j) {
      double slope = projected[j];
      for (size_t k = 0; k < n; ++k) slope -= gram[j][k] * x[k];
      if (!free[j] && !refused[j] && slope > steepest) {
        steepest = slope;
        best = j;
      }
    }
    if (best == n) return x;
    free[best] = true;
    for (;;) {
      const std::vector<double> wanted = solve_on(gram, projected, free);
      if (wanted.empty()) {  // a copy of columns that are in already
        free[best] = false;
        refused[best] = true;
        break;
      }
      // As far towards the solution as nothing turns negative; what reaches 0 leaves.
      double share = 1;
      for (size_t j = 0; j < n; ++j) {
        if (free[j] && wanted[j] <= 0 && x[j] > wanted[j]) share = std::min(share, x[j] / (x[j] - wanted[j]));
      }
      for (size_t j = 0; j < n; ++j) x[j] += share * (wanted[j] - x[j]);
      bool left = false;
      for (size_t j = 0; j < n; ++j) {
        if (free[j] && x[j] <= kSatisfied && wanted[j] <= 0) {
          x[j] = 0;
          free[j] = false;
          left = true;
        }
      }
      if (!left) break;
    }
  }
  return x;
}

}  // namespace jouleprune::energy
