#include "energy/calibrate.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <numeric>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "energy/calibrate_solve.h"

namespace jouleprune::energy {
namespace {

constexpr int kEnough = 3;  // observations that determine a column
constexpr int kMostRounds = 60;

std::string shown(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument("calibrate: " + what); }

void check(const std::vector<std::string>& columns, const std::vector<Observation>& observations) {
  if (columns.empty()) refuse("columns: expected at least one, got none");
  if (observations.size() < columns.size() + 2) {
    refuse("observations: expected at least " + std::to_string(columns.size() + 2) + " for " +
           std::to_string(columns.size()) + " columns, got " + std::to_string(observations.size()));
  }
  for (const Observation& seen : observations) {
    if (seen.features.size() != columns.size()) {
      refuse("features of '" + seen.family + "': expected " + std::to_string(columns.size()) + ", got " +
             std::to_string(seen.features.size()));
    }
    if (!(seen.target > 0 && std::isfinite(seen.target)))
      refuse("target of '" + seen.family + "': expected more than 0, got " + shown(seen.target));
    for (size_t j = 0; j < columns.size(); ++j) {
      if (!(seen.features[j] >= 0 && std::isfinite(seen.features[j]))) {
        refuse("column '" + columns[j] + "': expected finite numbers that are not negative, got " +
               shown(seen.features[j]));
      }
    }
  }
}

/// Rows divided by their targets, columns by their lengths.
struct Scaled {
  Matrix rows;
  std::vector<double> lengths;
};

Scaled scaled(const std::vector<Observation>& observations, size_t columns) {
  Scaled made{{}, std::vector<double>(columns, 0.0)};
  for (const Observation& seen : observations) {
    std::vector<double> row;
    for (size_t j = 0; j < columns; ++j) {
      row.push_back(seen.features[j] / seen.target);
      made.lengths[j] += row.back() * row.back();
    }
    made.rows.push_back(std::move(row));
  }
  for (double& length : made.lengths) length = std::sqrt(length);
  for (auto& row : made.rows) {
    for (size_t j = 0; j < columns; ++j) row[j] /= made.lengths[j] > 0 ? made.lengths[j] : 1;
  }
  return made;
}

/// How much of each column is its own; refuses those that nearly are sums of others.
std::vector<double> inflations(const std::vector<std::string>& columns, const Matrix& products) {
  const Matrix inverted = inverse(products);
  std::vector<double> found;
  size_t worst = 0;
  for (size_t j = 0; j < columns.size(); ++j) {
    found.push_back(inverted.empty() ? std::numeric_limits<double>::infinity() : inverted[j][j]);
    if (found[j] > found[worst]) worst = j;
  }
  if (found[worst] <= kMostInflation) return found;
  if (inverted.empty()) {  // which one is the copy? the pair that is most alike
    double alike = -1;
    for (size_t a = 0; a < columns.size(); ++a) {
      for (size_t b = 0; b < a; ++b) {
        if (products[a][b] > alike) alike = products[worst = a][b];
      }
    }
  }
  size_t partner = worst == 0 ? 1 : 0;
  for (size_t k = 0; k < columns.size(); ++k) {
    if (k != worst && products[worst][k] > products[worst][partner]) partner = k;
  }
  refuse("columns '" + columns[worst] + "' and '" + columns[partner] +
         "' rise and fall together in this sweep (cosine " + shown(products[worst][partner]) + ", variance inflation " +
         shown(found[worst]) +
         "): their coefficients cannot be told apart. Add shapes in which only one of them is large, or fit them as "
         "one column");
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

/// Without any checks: coefficients of the sum.
std::vector<double> solved(const std::vector<Observation>& observations, size_t columns) {
  const Scaled made = scaled(observations, columns);
  std::vector<double> projected(columns, 0.0);
  for (const auto& row : made.rows) {
    for (size_t j = 0; j < columns; ++j) projected[j] += row[j];
  }
  std::vector<double> found = nonnegative(gram(made.rows, columns), projected);
  for (size_t j = 0; j < columns; ++j) found[j] /= made.lengths[j] > 0 ? made.lengths[j] : 1;
  return found;
}

size_t longest_of(const Observation& seen, const std::vector<double>& coefficients) {
  size_t best = 1;
  for (size_t j = 1; j < coefficients.size(); ++j) {
    if (coefficients[j] * seen.features[j] > coefficients[best] * seen.features[best]) best = j;
  }
  return best;
}

double predicted_longest(const Observation& seen, const std::vector<double>& coefficients) {
  double most = 0;
  for (size_t j = 1; j < coefficients.size(); ++j) most = std::max(most, coefficients[j] * seen.features[j]);
  return coefficients[0] * seen.features[0] + most;
}

double predicted_sum(const Observation& seen, const std::vector<double>& coefficients) {
  return dot(seen.features, coefficients);
}

using Predict = double (*)(const Observation&, const std::vector<double>&);

/// Mean and largest |predicted / measured - 1|.
std::pair<double, double> errors(const std::vector<double>& ratios) {
  double mean = 0, worst = 0;
  for (const double ratio : ratios) {
    mean += std::abs(ratio - 1) / static_cast<double>(ratios.size());
    worst = std::max(worst, std::abs(ratio - 1));
  }
  return {mean, worst};
}

std::vector<double> ranks(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> found(values.size());
  for (size_t i = 0; i < order.size(); ++i) found[order[i]] = static_cast<double>(i);
  return found;
}

double spearman(const std::vector<double>& a, const std::vector<double>& b) {
  const std::vector<double> x = ranks(a), y = ranks(b);
  double squares = 0;
  const double n = static_cast<double>(a.size());
  for (size_t i = 0; i < x.size(); ++i) squares += (x[i] - y[i]) * (x[i] - y[i]);
  return n > 1 ? 1 - 6 * squares / (n * (n * n - 1)) : 1;
}

/// `fit` on all families but one predicts that one.
template <typename FitSome>
void judge(Fit& fit, const std::vector<Observation>& observations, FitSome fit_some, Predict predict) {
  std::vector<double> own;
  for (const Observation& seen : observations) own.push_back(predict(seen, fit.coefficients) / seen.target);
  std::tie(fit.mape, fit.worst) = errors(own);

  std::map<std::string, std::vector<Observation>> families;
  for (const Observation& seen : observations) families[seen.family].push_back(seen);
  if (families.size() < 2) return;
  std::vector<double> all, predictions, targets;
  for (const auto& [family, members] : families) {
    std::vector<Observation> rest;
    for (const Observation& seen : observations) {
      if (seen.family != family) rest.push_back(seen);
    }
    const std::vector<double> coefficients = fit_some(rest);
    std::vector<double> ratios;
    for (const Observation& seen : members) {
      predictions.push_back(predict(seen, coefficients));
      targets.push_back(seen.target);
      ratios.push_back(predictions.back() / seen.target);
    }
    all.insert(all.end(), ratios.begin(), ratios.end());
    const auto [mean, worst] = errors(ratios);
    fit.held_out.push_back({family, static_cast<int>(members.size()), mean, worst});
  }
  std::tie(fit.held_out_mape, fit.held_out_worst) = errors(all);
  fit.held_out_rank = spearman(predictions, targets);
}

/// Columns that are chosen at least so often; the others keep their start.
std::vector<double> alternated(const std::vector<Observation>& observations, const std::vector<double>& start,
                               std::vector<int>& used) {
  const size_t columns = start.size();
  std::vector<double> now = start, best = start;
  double least = std::numeric_limits<double>::infinity();
  for (int round = 0; round < kMostRounds; ++round) {
    std::vector<int> chosen(columns, 0);
    chosen[0] = static_cast<int>(observations.size());
    for (const Observation& seen : observations) ++chosen[longest_of(seen, now)];
    std::vector<Observation> terms;
    for (const Observation& seen : observations) {
      const size_t longest = longest_of(seen, now);
      if (chosen[longest] < kEnough) continue;
      Observation term{seen.family, std::vector<double>(columns, 0.0), seen.target};
      term.features[0] = seen.features[0];
      term.features[longest] = seen.features[longest];
      terms.push_back(std::move(term));
    }
    if (terms.empty()) break;
    std::vector<double> next = solved(terms, columns);
    for (size_t j = 1; j < columns; ++j) {
      if (chosen[j] < kEnough || next[j] <= 0) next[j] = start[j];
    }
    double squares = 0;
    for (const Observation& seen : observations)
      squares += std::pow(predicted_longest(seen, next) / seen.target - 1, 2);
    if (squares < least) {
      least = squares;
      best = next;
      used = chosen;
    }
    if (next == now) break;
    now = next;
  }
  return best;
}

}  // namespace

std::vector<double> nonnegative_least_squares(const std::vector<std::vector<double>>& rows,
                                              const std::vector<double>& right) {
  const size_t columns = rows.empty() ? 0 : rows.front().size();
  std::vector<double> projected(columns, 0.0);
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = 0; j < columns; ++j) projected[j] += rows[i][j] * right[i];
  }
  return nonnegative(gram(rows, columns), projected);
}

Fit fit_sum(const std::vector<std::string>& columns, const std::vector<Observation>& observations) {
  check(columns, observations);
  const Scaled made = scaled(observations, columns.size());
  Fit fit;
  for (size_t j = 0; j < columns.size(); ++j) {
    if (made.lengths[j] == 0) refuse("column '" + columns[j] + "' is 0 in every observation: nothing determines it");
    fit.used.push_back(static_cast<int>(
        std::count_if(made.rows.begin(), made.rows.end(), [j](const auto& row) { return row[j] > 0; })));
  }
  fit.inflation = inflations(columns, gram(made.rows, columns.size()));
  fit.coefficients = solved(observations, columns.size());
  judge(fit, observations, [&](const auto& rest) { return solved(rest, columns.size()); }, predicted_sum);
  return fit;
}

Fit fit_longest(const std::vector<std::string>& columns, const std::vector<Observation>& observations,
                const std::vector<double>& start) {
  check(columns, observations);
  if (columns.size() < 2 || start.size() != columns.size()) {
    refuse("start: expected one number for each of at least 2 columns, got " + std::to_string(start.size()));
  }
  for (size_t j = 0; j < columns.size(); ++j) {
    if (!(start[j] >= 0 && std::isfinite(start[j])))
      refuse("start of '" + columns[j] + "': expected 0 or more, got " + shown(start[j]));
  }
  Fit fit;
  fit.used.assign(columns.size(), 0);
  fit.coefficients = alternated(observations, start, fit.used);
  fit.inflation.assign(columns.size(), 1.0);
  judge(
      fit, observations,
      [&](const auto& rest) {
        std::vector<int> unused(columns.size(), 0);
        return alternated(rest, start, unused);
      },
      predicted_longest);
  return fit;
}

}  // namespace jouleprune::energy
