// What may run a weight: patterns, and for each the kernels and number types that take it.
#pragma once
#include <string>
#include <vector>

#include "plan/planner.h"
#include "plan/pricer.h"
#include "select/units.h"

namespace jouleprune::plan {

/// A kernel and the number type it runs in.
struct Form {
  std::string kernel, layout, dtype;
  double below = 2;  ///< density from which on it is not chosen: dense was measured to be faster; above 1: nothing is known
};

/// The patterns a weight may be pruned in: its own, the request's, or for "auto" those that the library has kernels for in
/// the number type `dtype` of the layer. Throws core::PatternError.
std::vector<select::Pattern> patterns_of(const Request& request, const PrunableWeight& weight, const std::string& dtype);

/// Rows and columns of the weight matrix, {0, 0} when the entry does not tell; of a convolution also how many columns each input
/// channel has.
struct MatrixSize {
  int64_t rows = 0, cols = 0, taps = 1;
};
MatrixSize matrix_of(const Entry& entry);

/// Forms that run all of `entries` (positions in the request's workload) pruned in the pattern. For bytes and multiply-adds a dense
/// kernel is among them, the first: zeros count whatever runs them.
std::vector<Form> pruned_forms(const Request& request, const PrunableWeight& weight, const std::vector<size_t>& entries,
                               const select::Pattern& pattern, const Pricer& pricer);

/// Forms that run them with nothing removed: first as recorded, then in the other number types that are allowed.
std::vector<Form> whole_forms(const Request& request, const PrunableWeight& weight, const std::vector<size_t>& entries,
                              const Pricer& pricer);

/// The entries' weights that a form stores of the `kept` first units.
int64_t stored(const Form& form, const select::KeptSizes& sizes, int64_t kept);

/// An entry as a form runs it. `pattern`: "dense" where nothing is removed.
Entry configured(Entry entry, const Form& form, int64_t nnz, const std::string& pattern);

}  // namespace jouleprune::plan
