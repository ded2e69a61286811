// The entries of least magnitude among many tensors: found by histograms, without sorting or joining them, for any
// number of entries.
#pragma once
#include <cstdint>
#include <span>

#include "kernels/parallel.h"
#include "select/magnitude.h"

namespace jouleprune::select {

/// One tensor of scores.
template <class Score>
struct Part {
  const Score* scores = nullptr;  ///< [size]
  const bool* left = nullptr;     ///< [size], whether an entry is still there; nullptr: all are
  int64_t size = 0;
  bool* kept = nullptr;           ///< [size], written: left and not removed; nullptr: not wanted
};

/// Removes the `amount` entries of least magnitude among those left. Of equal magnitudes the first stay, in the order
/// of the parts and then of the entries. Score: Bits16, float, double or int64_t. Throws std::invalid_argument when
/// `amount` is negative or more than is left. The result is the same for any number of threads.
///
/// Cost: of 4 million entries or more one pass over the scores, between two keys that a sample tells, and one or two to write the
/// masks; of fewer, or where scores repeat so much that the sample tells too little, one pass per 11 bits of key (2, 3 or 6) in
/// place of the first. Memory: a sample of at most 2^21 keys, at most one key for 40 entries (some 4 in 1,000 of them as a rule), a
/// histogram per thread, and 32 bytes per 65,536 entries.
template <class Score>
void remove_smallest(std::span<const Part<Score>> parts, int64_t amount, const kernels::ParallelFor& parallel);

extern template void remove_smallest(std::span<const Part<Bits16>>, int64_t, const kernels::ParallelFor&);
extern template void remove_smallest(std::span<const Part<float>>, int64_t, const kernels::ParallelFor&);
extern template void remove_smallest(std::span<const Part<double>>, int64_t, const kernels::ParallelFor&);
extern template void remove_smallest(std::span<const Part<int64_t>>, int64_t, const kernels::ParallelFor&);

}  // namespace jouleprune::select
