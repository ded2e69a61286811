// Threads enter torch-free kernels as a callable. Kernels split work so that each result is summed in one fixed order: results
// are bit-equal for any number of threads.
#pragma once
#include <cstdint>
#include <functional>

namespace jouleprune::kernels {

/// Work on [begin, end).
using ParallelBody = std::function<void(int64_t begin, int64_t end)>;

/// Calls `body` on disjoint ranges that cover [begin, end), from any threads, in ranges of at least about `grain`; returns when
/// all are done and rethrows the first exception.
using ParallelFor = std::function<void(int64_t begin, int64_t end, int64_t grain, const ParallelBody& body)>;

/// The calling thread does it all.
inline void serial(int64_t begin, int64_t end, int64_t /*grain*/, const ParallelBody& body) {
  if (begin < end) {
    body(begin, end);
  }
}

}  // namespace jouleprune::kernels
