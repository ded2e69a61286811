// The named errors of the public C++ surface: c10::ValueError subclasses, so that `catch (const c10::Error&)` sees them too.
// The torch-free core throws core:: errors (error.h); with_value_errors() rethrows them as these.
#pragma once
#include <c10/util/Exception.h>
#include <jouleprune/error.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace jouleprune {

/// A profile (or a case file) is malformed or unknown; the message holds the JSON pointer of the place.
class ProfileError : public c10::ValueError {
 public:
  explicit ProfileError(std::string what) : c10::ValueError(std::move(what)) {}
};

/// A pattern, layout or importance name is unknown, or does not fit the weight it is used on.
class PatternError : public c10::ValueError {
 public:
  explicit PatternError(std::string what) : c10::ValueError(std::move(what)) {}
};

/// The budget is malformed, above the dense energy, or below what can be reached.
class BudgetError : public c10::ValueError {
 public:
  BudgetError(std::string what, double minimum_j) : c10::ValueError(std::move(what)), minimum_j_(minimum_j) {}
  /// Least energy that can be reached, joules per count; NaN when the budget itself was malformed.
  double minimum_j() const noexcept { return minimum_j_; }

 private:
  double minimum_j_;
};

/// A meter was asked for that cannot count here.
class MeterError : public c10::ValueError {
 public:
  explicit MeterError(std::string what) : c10::ValueError(std::move(what)) {}
};

/// Calls `function`; what the core throws leaves as the class of the same name here, std::invalid_argument as c10::ValueError.
template <typename Function>
decltype(auto) with_value_errors(Function&& function) {
  try {
    return std::forward<Function>(function)();
  } catch (const core::ProfileError& error) {
    throw ProfileError(error.what());
  } catch (const core::PatternError& error) {
    throw PatternError(error.what());
  } catch (const core::BudgetError& error) {
    throw BudgetError(error.what(), error.minimum_j);
  } catch (const core::MeterError& error) {
    throw MeterError(error.what());
  } catch (const std::invalid_argument& error) {
    throw c10::ValueError(std::string(error.what()));
  }
}

}  // namespace jouleprune
