// What predictions of products and of convolutions share: the rates that launches reach.
#pragma once
#include <algorithm>

#include "csr/choice.h"

namespace jouleprune::cuda::csr {

inline constexpr double kLaunch = 2.5e-6;  // seconds from one kernel of a stream to the next
inline constexpr double kReached = 0.8;    // share of the memory's rate that streams reach

inline double ceil_div(double a, double b) { return static_cast<double>(static_cast<int64_t>((a + b - 1) / b)); }

/// Seconds that bytes of memory, and of the second-level cache, take.
inline double moved(const Machine& m, double dram, double l2) {
  return std::max(dram / (kReached * m.dram_bytes), l2 / (kReached * m.l2_bytes));
}

}  // namespace jouleprune::cuda::csr
