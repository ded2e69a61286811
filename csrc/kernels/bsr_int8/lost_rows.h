// Rows of bytes that would hold a NaN, which bytes cannot: their scale becomes NaN.
#pragma once
#include <atomic>
#include <cstdint>
#include <limits>

namespace jouleprune::kernels::bsr_int8 {

/// Several threads may store the parts of a row: each marks it, and nobody reads before all are done.
inline void mark_lost(float* scales, const uint8_t* lost, int64_t count) {
  for (int64_t j = 0; j < count; ++j) {
    if (lost[j] != 0) {
      std::atomic_ref<float>(scales[j]).store(std::numeric_limits<float>::quiet_NaN(), std::memory_order_relaxed);
    }
  }
}

}  // namespace jouleprune::kernels::bsr_int8
