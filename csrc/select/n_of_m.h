// The pattern n:m: of every m consecutive entries along one dimension at most n stay, those of largest magnitude.
#pragma once
#include <cstdint>

#include "kernels/parallel.h"
#include "select/magnitude.h"

namespace jouleprune::select {

/// A tensor as [outer, length, inner]: groups of m run along `length`. The last group may be shorter; n stay of it too.
struct Lines {
  int64_t outer = 0, length = 0, inner = 1;
};

/// kept = left, and among the n largest that are left in its group. Of equal magnitudes the first stay. `left` nullptr:
/// all are. Throws std::invalid_argument unless 0 <= n <= m and m >= 1. Score: float, double or int64_t.
template <class Score>
void keep_n_of_m(const Score* scores, const bool* left, const Lines& lines, int64_t n, int64_t m, bool* kept,
                 const kernels::ParallelFor& parallel);

extern template void keep_n_of_m(const float*, const bool*, const Lines&, int64_t, int64_t, bool*,
                                 const kernels::ParallelFor&);
extern template void keep_n_of_m(const double*, const bool*, const Lines&, int64_t, int64_t, bool*,
                                 const kernels::ParallelFor&);
extern template void keep_n_of_m(const int64_t*, const bool*, const Lines&, int64_t, int64_t, bool*,
                                 const kernels::ParallelFor&);

}  // namespace jouleprune::select
