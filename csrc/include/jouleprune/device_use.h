// How a device is used by one forward pass: time, traffic, multipliers, buffers. Torch-free; every figure is modelled.
// docs/report.md, "Comparing devices and networks".
#pragma once
#include <jouleprune/energy.h>

#include <optional>
#include <string>
#include <vector>

namespace jouleprune::energy {

struct LevelUse {
  std::string name;
  double bytes = 0;                        ///< read and written, per forward pass
  std::optional<double> capacity_bytes;    ///< none: as large as needed, or not told
  std::optional<double> fill;              ///< largest call's weights, inputs and outputs over the capacity, at most 1
  std::optional<double> bandwidth_share;   ///< share of the time that this level alone would need for its bytes
};

struct DeviceUse {
  double latency_s = 0;  ///< per forward pass, launches included; 0 where the profile has no speed
  double low_s = 0, high_s = 0;  ///< its interval, from the ends of every speed at once
  double macs = 0;       ///< issued, per forward pass
  /// Share of the time that the issued MACs would need at the peak of their types; none without a speed.
  std::optional<double> multiplier_share;
  std::vector<LevelUse> levels;  ///< outermost first
};

/// Throws std::invalid_argument as an estimate of the workload does.
DeviceUse device_use(const Workload& workload, const Profile& profile);

/// {"latency_s", "low_s", "high_s", "macs", "multiplier_share", "levels"}; null where there is no number.
std::string to_json(const DeviceUse& use);

}  // namespace jouleprune::energy
