// The three system calls behind perf events, so that tests can bring their own.
#pragma once
#include <cstdint>
#include <functional>

#include "energy/meters/backends.h"

namespace jouleprune::energy::meters {

struct PerfApi {
  std::function<int(uint32_t type, uint64_t config, int cpu)> open;  ///< a file, or -errno
  std::function<int(int file, uint64_t* ticks)> read;                ///< 0, or errno
  std::function<void(int file)> close;

  static PerfApi system();
};

void find_perf_with(const MeterOptions& options, const PerfApi& api, Found& found);

}  // namespace jouleprune::energy::meters
