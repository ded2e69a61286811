#include "plan/currency.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <stdexcept>
#include <utility>

#include "energy/profile_data.h"
#include "formats/ceil_div.h"
#include "plan/pricer.h"
#include "plan/words.h"

namespace jouleprune::plan {
namespace {
struct Word {
  Currency currency;
  std::string_view name, unit;
};
constexpr std::array<Word, 3> kWords = {{{Currency::kJoules, "joules", "J"},
                                         {Currency::kBytes, "bytes", "bytes"},
                                         {Currency::kMacs, "macs", "multiply-adds"}}};

constexpr int64_t kIndex = 4, kKey = 16, kScale = 4, kQuadEntries = 4;  // bytes of int32, of a content key, of float32; entries of a quad

const Word& word(Currency currency) {
  return *std::find_if(kWords.begin(), kWords.end(), [&](const Word& each) { return each.currency == currency; });
}

std::string prefixed(double amount) {
  constexpr std::array<std::pair<double, const char*>, 4> kPrefixes = {{{1e12, " T"}, {1e9, " G"}, {1e6, " M"}, {1e3, " k"}}};
  std::array<char, 40> text{};
  for (const auto& [size, prefix] : kPrefixes) {
    if (amount < size) continue;
    std::snprintf(text.data(), text.size(), "%.3g%s", amount / size, prefix);
    return text.data();
  }
  std::snprintf(text.data(), text.size(), "%.3g ", amount);
  return text.data();
}
}  // namespace

Currency parse_currency(std::string_view name) {
  for (const Word& each : kWords) {
    if (each.name == name) return each.currency;
  }
  throw std::invalid_argument("prune_for: expected \"joules\", \"bytes\" or \"macs\", got \"" + std::string(name.substr(0, 80)) + "\"");
}

std::string_view word_of(Currency currency) { return word(currency).name; }
std::string_view unit_of(Currency currency) { return word(currency).unit; }

std::string amount_text(Currency currency, double amount) {
  if (currency == Currency::kJoules) return joules_text(amount);
  return prefixed(amount) + (currency == Currency::kBytes ? "B" : (amount < 1e3 ? "multiply-adds" : " multiply-adds"));
}

Held held_by(const select::KeptSizes& sizes, int64_t kept) {
  return {sizes.at(kept, select::Measure::kWeights), kept, ceil_div(sizes.padded(kept, select::Measure::kQuads), kQuadEntries)};
}

Held whole_of(const MatrixSize& matrix, int64_t weights) {
  return {weights, 0, matrix.rows * matrix.taps * ceil_div(matrix.cols / matrix.taps, kQuadEntries)};
}

int64_t stored_bytes(const Form& form, const select::Pattern& pattern, const std::string& dtype, const MatrixSize& matrix,
                     int64_t weights, const Held& held) {
  const int64_t size = energy::dtype_bits(dtype) / 8;
  if (form.kernel == kInt8Kernel) {
    // Besides the scales of the rows that of the input, and a bias that is float32 whatever the weight was: counted as if there were one.
    const int64_t bias = matrix.rows * std::max<int64_t>(0, kScale - size);
    return held.quads * (kQuadEntries + kIndex) + kIndex * (matrix.rows + 1) + kKey + kScale * (matrix.rows + 1) + bias;
  }
  if (form.layout == "csr") return held.weights * (size + kIndex) + kIndex * (matrix.rows + 1) + kKey;
  if (form.layout == "bsr") {
    return held.blocks * (pattern.r * pattern.c * size + kIndex) + kIndex * (ceil_div(matrix.rows, pattern.r) + 1) + kKey;
  }
  return std::min(weights * size, held.weights * size + ceil_div(weights, 8));
}

double budget_of(const Plan& plan) { return plan.amounts ? plan.amounts->budget : plan.budget_j; }

void set_budget(Plan& plan, double budget, std::string text) {
  plan.budget = std::move(text);
  if (plan.amounts) {
    plan.amounts->budget = budget;
    plan.amounts->slack = budget - plan.amounts->used;
    return;
  }
  plan.budget_j = budget;
  plan.slack_j = budget - plan.energy_j;
}

}  // namespace jouleprune::plan
