// The named errors of the torch-free core; messages name the argument, what was expected and what came.
// The public layer rethrows them as c10::ValueError subclasses (value_errors.h), Python as the class of the same name.
#pragma once
#include <stdexcept>
#include <string>

namespace jouleprune::core {

/// A profile (or a case file) is malformed; the message holds the JSON pointer of the place.
struct ProfileError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// A pattern, layout or importance name is unknown, or does not fit the weight it is used on.
struct PatternError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// The budget is malformed, above the dense energy, or below what can be reached.
struct BudgetError : std::invalid_argument {
  /// `minimum_j`: least energy that can be reached, joules; NaN when the budget itself was malformed.
  BudgetError(const std::string& what, double minimum_j) : std::invalid_argument(what), minimum_j(minimum_j) {}
  double minimum_j;
};

/// A meter was asked for that cannot count here.
struct MeterError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

}  // namespace jouleprune::core
