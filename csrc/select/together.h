// Processes that select together: each holds a part of the scores of every layer, one after the other in the order of their ranks.
// All of them make the same calls in the same order, so that sums over all come out the same everywhere. Torch-free.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace jouleprune::select {

struct Together {
  int64_t rank = 0, size = 1;
  /// In place, over all processes, with the same bits in each.
  std::function<void(std::span<int64_t>)> sum_counts;
  std::function<void(std::span<double>)> sum_doubles;

  /// The sum of what lower ranks give.
  int64_t before(int64_t mine) const {
    std::vector<int64_t> all(static_cast<size_t>(size));
    all[static_cast<size_t>(rank)] = mine;
    sum_counts(all);
    int64_t sum = 0;
    for (int64_t other = 0; other < rank; ++other) sum += all[static_cast<size_t>(other)];
    return sum;
  }
};

}  // namespace jouleprune::select
