#include <jouleprune/plan.h>

#include <charconv>
#include <cmath>
#include <limits>

#include "plan/words.h"

namespace jouleprune {
namespace {
constexpr double kMalformed = std::numeric_limits<double>::quiet_NaN();

[[noreturn]] void refuse(const std::string& got) {
  throw core::BudgetError(
      "budget: expected \"N%\" with N above 0 and at most 100, or a positive number of joules, got " + got, kMalformed);
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}
}  // namespace

Budget Budget::joules(double energy_j) {
  if (!std::isfinite(energy_j) || energy_j <= 0) refuse(plan::number_text(energy_j) + " J");
  return Budget(energy_j, false);
}

Budget Budget::percent(double percent) {
  if (!std::isfinite(percent) || percent <= 0 || percent > 100) refuse(plan::number_text(percent) + "%");
  return Budget(percent, true);
}

Budget Budget::parse(std::string_view text) {
  const std::string quoted = "\"" + std::string(text.substr(0, 80)) + "\"";
  std::string_view number = trimmed(text);
  const bool relative = !number.empty() && number.back() == '%';
  if (relative) number = trimmed(number.substr(0, number.size() - 1));
  double value = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (number.empty() || error != std::errc() || end != number.data() + number.size()) refuse(quoted);
  if (!std::isfinite(value) || value <= 0 || (relative && value > 100)) refuse(quoted);
  return Budget(value, relative);
}

double Budget::resolve(double dense, std::string_view unit) const {
  const bool energy = unit == "J";
  const std::string of = " " + std::string(unit), whose = energy ? "dense energy" : "dense network's";
  // value / 100 first: 100 % of the dense energy is then exactly the dense energy.
  const double budget = relative_ ? dense * (value_ / 100) : value_;
  if (!std::isfinite(budget) || budget <= 0) {
    const std::string why = energy ? "joules: nothing that was recorded costs energy" : std::string(unit) + ": the network has none";
    throw core::BudgetError("budget: " + to_string() + " of a " + whose + (energy ? " of " : " ") + plan::number_text(dense) + of +
                                " is not a positive number of " + why,
                            kMalformed);
  }
  if (budget > dense) {
    const std::string number = energy ? "joules (0.5 is half a joule); for a share of the dense energy" : std::string(unit) + "; for a share";
    throw core::BudgetError("budget: expected at most the " + whose + (energy ? " of " : " ") + plan::number_text(dense) + of + ", got " +
                                to_string() + of + ": a number is " + number + " write \"50%\"",
                            kMalformed);
  }
  return budget;
}

std::string Budget::to_string() const { return plan::number_text(value_) + (relative_ ? "%" : ""); }

}  // namespace jouleprune
