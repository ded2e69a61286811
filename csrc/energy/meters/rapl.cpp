// RAPL through powercap: <root>/class/powercap/intel-rapl:N[:M]/{name,energy_uj,max_energy_range_uj}, in microjoules.
// AMD uses the same names. Kernel documentation: Documentation/power/powercap/powercap.rst. The tree: package contains
// core and uncore; dram is beside its package; psys contains everything.
#include <algorithm>
#include <cerrno>

#include "energy/meters/backends.h"
#include "energy/meters/files.h"

namespace jouleprune::energy::meters {
namespace {

constexpr const char* kPermission =
    "permission denied: only root may read it since Linux 5.10. As root: chmod a+r /sys/class/powercap/*/energy_uj "
    "/sys/class/powercap/*/*/energy_uj "
    "(until the next start; a udev rule makes it last), or give the program CAP_PERFMON for perf events, or run zeusd";
/// Of a package without a stated limit; server packages stay below.
constexpr double kMostWatts = 1000;

class RaplZone : public EnergySource {
 public:
  explicit RaplZone(std::string folder) : folder_(std::move(folder)) {
    const auto limit = number_of(read_small(folder_ + "/constraint_0_max_power_uw").text);
    // Short peaks pass the limit; twice as much is generous.
    if (limit && *limit > 0) most_watts_ = std::max(kMostWatts, 2e-6 * static_cast<double>(*limit));
  }
  Reading read() override {
    const std::string path = folder_ + "/energy_uj";
    const FileText file = read_small(path);
    if (file.error == EACCES || file.error == EPERM) return {0, 0, path + ": " + kPermission};
    if (file.error != 0) return {0, 0, path + ": " + reason(file.error)};
    const auto ticks = number_of(file.text);
    if (!ticks) return {0, 0, path + ": expected microjoules, got '" + file.text.substr(0, 40) + "'"};
    return {*ticks, 0, ""};
  }
  uint64_t range() const override { return number_of(read_small(folder_ + "/max_energy_range_uj").text).value_or(0); }
  double most_watts() const override { return most_watts_; }
  std::map<std::string, std::string> conditions() const override {
    const std::string limit = read_small(folder_ + "/constraint_0_power_limit_uw").text;
    if (limit.empty()) return {};
    return {{domain.name + " power limit, uW", limit}};
  }

 private:
  std::string folder_;
  double most_watts_ = kMostWatts;
};

/// "package-0-die-1" -> "-0-die-1".
std::string place_of(const std::string& package) {
  return package.starts_with("package") ? package.substr(7) : "-" + package;
}

void add_zone(const std::string& folder, const std::string& parent, Found& found) {
  const std::string name = read_small(folder + "/name").text;
  if (name.empty()) return;
  const auto zone = std::make_shared<RaplZone>(folder);
  Domain& domain = zone->domain;
  domain.meter = "rapl";
  if (name == "psys") {
    domain.name = name;
    domain.scope = Scope::kBoard;
    domain.adds = false;  // above everything else
  } else if (parent.empty()) {
    domain.name = name;
  } else {
    domain.name = name + place_of(parent);
    const bool beside = name == "dram";
    domain.inside = beside ? "" : parent;
    domain.adds = beside;
  }
  found.sources.push_back(zone);
}

}  // namespace

void find_rapl(const MeterOptions& options, Found& found) {
  if (options.sysfs_root.empty()) return;
  const std::string folder = options.sysfs_root + "/class/powercap";
  if (!exists(folder)) {
    found.notes.push_back(
        "RAPL (powercap): there is no " + folder +
        ": the kernel's driver is not loaded (modprobe intel_rapl_msr), or this is a virtual machine without it");
    return;
  }
  const std::vector<std::string> names = names_in(folder);
  size_t zones = 0;
  // "intel-rapl:0" before its "intel-rapl:0:0"; "intel-rapl-mmio:0", the same counter once more, after all of
  // "intel-rapl".
  for (const std::string& prefix : {std::string("intel-rapl:"), std::string("intel-rapl-mmio:")}) {
    for (const std::string& name : names) {
      if (!name.starts_with(prefix)) continue;
      const size_t child = name.find(':', prefix.size());
      const std::string parent =
          child == std::string::npos ? "" : read_small(folder + "/" + name.substr(0, child) + "/name").text;
      add_zone(folder + "/" + name, parent, found);
      ++zones;
    }
  }
  if (zones == 0) {
    found.notes.push_back(
        "RAPL (powercap): " + folder +
        " is empty: containers hide it from their programs; measure on the host, or mount it into the container");
  }
}

}  // namespace jouleprune::energy::meters
