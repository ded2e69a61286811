// How many panels share one pass over the weight: a pure choice.
#pragma once
#include <algorithm>
#include <cstdint>

namespace jouleprune::kernels::bsr_int8 {

/// Panels whose activations and sums stay in cache while the weight (its code and values) passes by once for all of them.
inline int64_t panels_per_wave(int64_t weight_bytes, int64_t panel_bytes, int64_t sums_bytes) {
  constexpr int64_t kResident = 384 << 10;  // a weight that stays in a second-level cache of 1 MB costs nothing to pass again
  constexpr int64_t kWave = 512 << 10;
  if (weight_bytes <= kResident) {
    return 1;
  }
  return std::clamp<int64_t>(kWave / std::max<int64_t>(panel_bytes + sums_bytes, 1), 1, 16);
}

}  // namespace jouleprune::kernels::bsr_int8
