// The back ends: each looks for its counters and adds what it finds, countable or not; what is missing becomes a note.
#pragma once
#include <jouleprune/meters.h>

#include <memory>
#include <string>
#include <vector>

namespace jouleprune::energy::meters {

struct Found {
  std::vector<std::shared_ptr<EnergySource>> sources;
  std::vector<std::string> notes;  ///< "RAPL (powercap): ..."
};

void find_rapl(const MeterOptions& options, Found& found);
void find_perf(const MeterOptions& options, Found& found);
void find_nvml(const MeterOptions& options, Found& found);
void find_hwmon(const MeterOptions& options, Found& found);
void find_zeusd(const MeterOptions& options, Found& found);

/// A source that is there and cannot be read, with the reason in domain.status.
std::shared_ptr<EnergySource> unreadable(Domain domain, const std::string& status);

}  // namespace jouleprune::energy::meters
