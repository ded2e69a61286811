#include "energy/calibrate_family.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "energy/calibrate_solve.h"
#include "energy/timing.h"

namespace jouleprune::energy {
namespace {

constexpr size_t kFewest = 4;       // calls of a family
constexpr size_t kEnoughPlaces = 8; // calls from which on corrections are worth it
constexpr size_t kParts = 5;        // left out in turn
constexpr int kReweighted = 15;
// Relative errors above it count by their size.
constexpr double kLarge = 0.15;

[[noreturn]] void reject(const std::string& what) { throw std::invalid_argument("calibrate: " + what); }

void check_calls(const std::vector<std::string>& columns, const std::vector<TimedShape>& calls) {
  if (calls.size() < kFewest) reject("calls: expected at least 4, got " + std::to_string(calls.size()));
  for (const TimedShape& call : calls) {
    if (call.counts.size() != columns.size()) {
      reject("counts: expected " + std::to_string(columns.size()) + ", got " + std::to_string(call.counts.size()));
    }
    if (call.at.size() != calls.front().at.size()) {
      reject("at: expected " + std::to_string(calls.front().at.size()) + " sizes, got " + std::to_string(call.at.size()));
    }
    if (!(call.seconds > 0 && std::isfinite(call.seconds))) {
      reject("seconds: expected more than 0, got " + std::to_string(call.seconds));
    }
    for (size_t j = 0; j < columns.size(); ++j) {
      if (!(call.counts[j] >= 0 && std::isfinite(call.counts[j]))) {
        reject("count '" + columns[j] + "': expected finite numbers that are not negative, got " +
               std::to_string(call.counts[j]));
      }
    }
    for (const double size : call.at) {
      if (!std::isfinite(size)) reject("at: expected finite numbers, got " + std::to_string(size));
    }
  }
}

/// Rows divided by their seconds and multiplied by their weights; columns of unit length.
struct Weighted {
  Matrix rows;
  std::vector<double> lengths;
};

Weighted weighted(const std::vector<TimedShape>& calls, const std::vector<size_t>& kept, const std::vector<double>& weights) {
  Weighted made{{}, std::vector<double>(kept.size(), 0.0)};
  for (size_t i = 0; i < calls.size(); ++i) {
    std::vector<double> row;
    for (const size_t column : kept) row.push_back(calls[i].counts[column] / calls[i].seconds * weights[i]);
    for (size_t j = 0; j < row.size(); ++j) made.lengths[j] += row[j] * row[j];
    made.rows.push_back(std::move(row));
  }
  for (double& length : made.lengths) length = length > 0 ? std::sqrt(length) : 1;
  for (auto& row : made.rows) {
    for (size_t j = 0; j < row.size(); ++j) row[j] /= made.lengths[j];
  }
  return made;
}

/// Columns that are not 0 throughout and that can be told from those before them, in their order: of two that rise and fall together the
/// first stays.
std::vector<size_t> distinct(const std::vector<TimedShape>& calls, size_t columns) {
  const std::vector<double> even(calls.size(), 1.0);
  std::vector<size_t> kept;
  for (size_t j = 0; j < columns; ++j) {
    if (std::none_of(calls.begin(), calls.end(), [j](const TimedShape& call) { return call.counts[j] > 0; })) continue;
    kept.push_back(j);
    const Matrix inverted = inverse(gram(weighted(calls, kept, even).rows, kept.size()));
    if (inverted.empty() || !(inverted.back().back() <= kMostInflation)) kept.pop_back();
  }
  return kept;
}

double formula_of(const TimedShape& call, const std::vector<double>& coefficients) {
  double seconds = 0;
  for (size_t j = 0; j < coefficients.size(); ++j) seconds += coefficients[j] * call.counts[j];
  return seconds;
}

std::vector<double> coefficients_of(const std::vector<TimedShape>& calls, const std::vector<size_t>& kept, size_t columns) {
  std::vector<double> weights(calls.size(), 1.0), coefficients(columns, 0.0);
  for (int round = 0; round < kReweighted; ++round) {
    const Weighted made = weighted(calls, kept, weights);
    std::vector<double> projected(kept.size(), 0.0);
    for (size_t i = 0; i < calls.size(); ++i) {
      for (size_t j = 0; j < kept.size(); ++j) projected[j] += made.rows[i][j] * weights[i];
    }
    const std::vector<double> found = nonnegative(gram(made.rows, kept.size()), projected);
    for (size_t j = 0; j < kept.size(); ++j) coefficients[kept[j]] = found[j] / made.lengths[j];
    for (size_t i = 0; i < calls.size(); ++i) {
      const double share = std::max(formula_of(calls[i], coefficients) / calls[i].seconds, 1e-3);
      // d log(share) = d share / share: errors of predictions that are too long count in the same measure as too short ones.
      weights[i] = 1 / std::sqrt(std::max(1.0, std::abs(std::log(share)) / kLarge)) / std::max(share, 0.3);
    }
  }
  return coefficients;
}

/// The parts of a prediction, from some of the calls.
struct FamilyModel {
  std::vector<double> coefficients;
  std::vector<std::vector<double>> places;
  std::vector<double> logs;

  FamilyModel(const std::vector<TimedShape>& calls, const std::vector<size_t>& kept, size_t columns)
      : coefficients(coefficients_of(calls, kept, columns)) {
    for (const TimedShape& call : calls) {
      places.push_back(call.at);
      logs.push_back(std::log(call.seconds / std::max(formula_of(call, coefficients), 1e-12)));
    }
  }
};

/// Mean error of each call's correction by those of the others.
double left_out_error(const FamilyModel& model, double reach, double pull) {
  double sum = 0;
  for (size_t i = 0; i < model.logs.size(); ++i) {
    // Its own part, which has weight 1, taken out of the sum over all.
    double squares_sum = pull, logs_sum = 0;
    for (size_t k = 0; k < model.logs.size(); ++k) {
      if (k == i) continue;
      double squares = 0;
      for (size_t axis = 0; axis < model.places[i].size(); ++axis) {
        squares += (model.places[k][axis] - model.places[i][axis]) * (model.places[k][axis] - model.places[i][axis]);
      }
      const double weight = std::exp(-squares / (2 * reach * reach));
      squares_sum += weight;
      logs_sum += weight * model.logs[k];
    }
    sum += std::abs(logs_sum / squares_sum - model.logs[i]);
  }
  return sum / static_cast<double>(model.logs.size());
}

void choose_reach(const FamilyModel& model, FamilyFit& fit) {
  double least = std::numeric_limits<double>::infinity();
  for (const double reach : {0.5, 0.7, 1.0, 1.4, 2.0, 2.8}) {
    for (const double pull : {0.3, 1.0, 3.0, 10.0}) {  // never led by one shape that is far away
      const double error = left_out_error(model, reach, pull);
      if (error >= least) continue;
      least = error;
      fit.reach = reach;
      fit.pull = pull;
    }
  }
}

void judge_shapes(const std::vector<TimedShape>& calls, const std::vector<size_t>& kept, size_t columns, FamilyFit& fit) {
  for (size_t part = 0; part < kParts; ++part) {
    std::vector<TimedShape> rest, left_out;
    for (size_t i = 0; i < calls.size(); ++i) (i % kParts == part ? left_out : rest).push_back(calls[i]);
    if (rest.empty()) continue;
    const FamilyModel model(rest, kept, columns);
    for (const TimedShape& call : left_out) {
      double predicted = formula_of(call, model.coefficients);
      if (calls.size() >= kEnoughPlaces) predicted *= std::exp(correction(model.places, model.logs, call.at, fit.reach, fit.pull));
      const double error = std::abs(predicted / call.seconds - 1);
      fit.mape += error / static_cast<double>(calls.size());
      fit.bias += std::log(std::max(predicted, 1e-12) / call.seconds) / static_cast<double>(calls.size());
      fit.worst = std::max(fit.worst, error);
    }
  }
}

}  // namespace

FamilyFit fit_family(const std::vector<std::string>& columns, const std::vector<TimedShape>& calls) {
  check_calls(columns, calls);
  const std::vector<size_t> kept = distinct(calls, columns.size());
  if (kept.empty()) reject("counts: all of them are 0 in every call: nothing determines the time");
  FamilyFit fit;
  for (size_t j = 0; j < columns.size(); ++j) {
    if (std::find(kept.begin(), kept.end(), j) == kept.end()) fit.dropped.push_back(columns[j]);
  }
  const FamilyModel model(calls, kept, columns.size());
  fit.coefficients = model.coefficients;
  for (const double log : model.logs) fit.ratios.push_back(std::exp(log));
  if (calls.size() >= kEnoughPlaces) choose_reach(model, fit);
  judge_shapes(calls, kept, columns.size(), fit);
  return fit;
}

}  // namespace jouleprune::energy
