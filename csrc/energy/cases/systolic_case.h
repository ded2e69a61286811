// Case files of the kinds systolic-array-model and energy-budget-projection.
#pragma once
#include "energy/json_reader.h"

namespace jouleprune::energy::cases {

/// What the case's `expected` holds, computed: per layer weights kept, energies and marginals, and their totals.
Json evaluate_systolic(const Node& root);

/// Kept weights per layer and energies within a budget: `budget` of the file, or half of the energy before.
Json evaluate_projection(const Node& root);

}  // namespace jouleprune::energy::cases
