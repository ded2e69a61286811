// Units of r x c entries of a weight [rows, cols]: their norms, and masks of weights from masks of units. The last
// units of a row or column of units may reach beyond the weight; what lies there does not count.
#pragma once
#include <cstdint>

#include "kernels/parallel.h"

namespace jouleprune::select {

struct Blocks {
  int64_t rows = 0, cols = 0;  ///< of the weight
  int64_t r = 1, c = 1;        ///< of a unit
  int64_t down() const { return (rows + r - 1) / r; }
  int64_t across() const { return (cols + c - 1) / c; }
};

/// Norm of each unit as a mean over its entries inside the weight, so that units at the edge compare:
/// (sum |score|^p / entries)^(1/p), or the largest |score| for p = infinity. Entries that are not left count as 0.
/// `scores` [rows, cols]; `left` the same, or nullptr: all are; `norms` and `units_left` [down, across]: a unit is left
/// while any entry of it is. Throws std::invalid_argument unless p > 0. Summed in double, in one order whatever the
/// threads. Score: float or double.
template <class Score>
void unit_norms(const Score* scores, const bool* left, const Blocks& blocks, double p, double* norms, bool* units_left,
                const kernels::ParallelFor& parallel);

extern template void unit_norms(const float*, const bool*, const Blocks&, double, double*, bool*,
                                const kernels::ParallelFor&);
extern template void unit_norms(const double*, const bool*, const Blocks&, double, double*, bool*,
                                const kernels::ParallelFor&);

/// kept [rows, cols] = the unit of the entry is kept, and the entry is left.
void spread_units(const bool* units, const bool* left, const Blocks& blocks, bool* kept,
                  const kernels::ParallelFor& parallel);

}  // namespace jouleprune::select
