// LAMP scores: magnitudes made comparable between layers.
#pragma once
#include <cstdint>
#include <span>

namespace jouleprune::select {

/// scores[i] = w[i]^2 / sum of w[j]^2 over i itself and all j behind it, in ascending order of |w|, of equal magnitudes in order of
/// index; 0 of a weight 0. Source: Lee et al., Layer-adaptive sparsity for the magnitude-based pruning, ICLR 2021, equation 5.
/// `weights` finite, as many as `scores`; sums in double. Radix sort in O(n): 16 (double: 32) bytes a weight beside the scores.
/// Weight: float or double.
template <class Weight>
void lamp(std::span<const Weight> weights, std::span<float> scores);

extern template void lamp(std::span<const float>, std::span<float>);
extern template void lamp(std::span<const double>, std::span<float>);

}  // namespace jouleprune::select
