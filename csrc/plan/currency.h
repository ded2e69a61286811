// What a plan is made to spend: joules, bytes of the stored network, or multiply-adds; and the size of a weight as it is stored.
#pragma once
#include <jouleprune/plan.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "plan/candidates.h"
#include "select/units.h"

namespace jouleprune::plan {

enum class Currency { kJoules, kBytes, kMacs };

/// Of "joules", "bytes" or "macs". Throws std::invalid_argument.
Currency parse_currency(std::string_view word);
std::string_view word_of(Currency currency);
/// As after a number: "J", "bytes", "multiply-adds".
std::string_view unit_of(Currency currency);
/// "12.3 uJ", "4.56 kB", "7.8 M multiply-adds".
std::string amount_text(Currency currency, double amount);

/// What a form stores of a weight.
struct Held {
  int64_t weights = 0;  ///< entries of the weight
  int64_t blocks = 0;   ///< of a pattern of blocks
  int64_t quads = 0;    ///< blocks of 1 x 4, padding included
};

/// Of the `kept` first units.
Held held_by(const select::KeptSizes& sizes, int64_t kept);
/// Of a weight with nothing removed.
Held whole_of(const MatrixSize& matrix, int64_t weights);

/// Bytes of the tensors that stand for a weight in the file that Python's save(packed=True) writes (docs/formats.md): the whole weight or
/// the kept entries with a bit for each, whichever is less; values and structure of csr and bsr. `dtype`: the weight's own.
int64_t stored_bytes(const Form& form, const select::Pattern& pattern, const std::string& dtype, const MatrixSize& matrix,
                     int64_t weights, const Held& held);

/// In the plan's currency.
double budget_of(const Plan& plan);
/// Writes the budget that was asked for, in the plan's currency, as `text` says it.
void set_budget(Plan& plan, double budget, std::string text);

}  // namespace jouleprune::plan
