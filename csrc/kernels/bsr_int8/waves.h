// How many panels share one pass over the weight: a pure choice. Zen 4, 3072 x 768 at 50 %: 8 panels 767 us, 4 771, 1 783; at
// 95 %: 1 panel 191 us, 4 201.
#pragma once
#include <algorithm>
#include <cstdint>

namespace jouleprune::kernels::bsr_int8 {

/// Panels whose activations and sums stay in cache while the weight (its code and values) passes by once for all of them.
inline int64_t panels_per_wave(int64_t weight_bytes, int64_t panel_bytes) {
  constexpr int64_t kResident = 384 << 10;  // a weight that stays in a second-level cache of 1 MB costs nothing to pass again
  constexpr int64_t kWave = 512 << 10, kMostPanels = 8;
  if (weight_bytes <= kResident) {
    return 1;
  }
  return std::clamp<int64_t>(kWave / std::max<int64_t>(panel_bytes, 1), 1, kMostPanels);
}

}  // namespace jouleprune::kernels::bsr_int8
