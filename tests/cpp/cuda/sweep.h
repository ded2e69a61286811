// Which schedules a case of a sweep runs under.
#pragma once
#include <cstdlib>
#include <vector>

#include "simt/host/report.h"

namespace jouleprune::cuda {

/// One schedule per case, another one for the next case; all adversarial ones and 8 random seeds each where
/// JOULEPRUNE_SIMT_FULL is set.
inline std::vector<simt::host::Options> schedules(size_t turn) {
  using simt::host::Options, simt::host::Schedule;
  std::vector<Options> all;
  for (const auto adversary : {Schedule::kReverse, Schedule::kWarpAhead, Schedule::kLaneLate, Schedule::kForward}) {
    Options options;
    options.schedule = adversary;
    options.seed = turn + 1;
    all.push_back(options);
  }
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    Options options;
    options.seed = seed + 8 * turn;
    all.push_back(options);
  }
  if (const char* full = std::getenv("JOULEPRUNE_SIMT_FULL"); full != nullptr && *full != '\0') {
    return all;
  }
  return {all[turn % 5]};
}

/// Takes every so many shapes: under sanitizers a switch of stacks takes ten times as long.
inline constexpr size_t thinning() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return 16;
#else
  return 1;
#endif
}

}  // namespace jouleprune::cuda
