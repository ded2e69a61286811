// RAPL through the kernel's perf events: <root>/bus/event_source/devices/power, one event per package cpu, 64-bit (the
// kernel handles wraps), scaled by 2^-32 J. perf_event_open(2).
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "energy/meters/backends.h"
#include "energy/meters/files.h"
#include "energy/meters/perf_api.h"

#if defined(__linux__)
#include <linux/perf_event.h>
#endif

namespace jouleprune::energy::meters {
namespace {

class PerfEvent : public EnergySource {
 public:
  PerfEvent(std::shared_ptr<const PerfApi> api, int file, double scale)
      : api_(std::move(api)), file_(file), scale_(scale) {}
  ~PerfEvent() override { api_->close(file_); }
  Reading read() override {
    uint64_t ticks = 0;
    const int error = api_->read(file_, &ticks);
    if (error != 0) return {0, 0, "perf event: " + reason(error)};
    return {ticks, 0, ""};
  }
  double joules_per_tick() const override { return scale_; }

 private:
  std::shared_ptr<const PerfApi> api_;
  int file_;
  double scale_;
};

/// "0,18" or "0-3" -> cpus.
std::vector<int> cpus_of(const std::string& mask) {
  std::vector<int> cpus;
  size_t at = 0;
  while (at < mask.size() && cpus.size() < 4096) {
    const size_t comma = std::min(mask.find(',', at), mask.size());
    const std::string part = mask.substr(at, comma - at);
    const size_t dash = part.find('-');
    const auto first = number_of(part.substr(0, dash));
    const auto last = dash == std::string::npos ? first : number_of(part.substr(dash + 1));
    if (first && last && *last < 65536) {
      for (uint64_t cpu = *first; cpu <= *last && cpus.size() < 4096; ++cpu) cpus.push_back(static_cast<int>(cpu));
    }
    at = comma + 1;
  }
  return cpus;
}

/// "event=0x02" -> 2; events of RAPL have no other fields.
std::optional<uint64_t> config_of(const std::string& event) {
  if (!event.starts_with("event=0x")) return std::nullopt;
  uint64_t config = 0;
  const std::string digits = event.substr(8);
  if (digits.empty() || digits.size() > 8 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
    return std::nullopt;
  config = std::stoull(digits, nullptr, 16);
  return config;
}

/// "-0", or "-0-die-1" where a package has several dies with a counter each.
std::string place_of(const MeterOptions& options, int cpu, const std::vector<int>& cpus) {
  const auto topology = [&](int of, const char* file) {
    return read_small(options.sysfs_root + "/devices/system/cpu/cpu" + std::to_string(of) + "/topology/" + file).text;
  };
  const std::string package = topology(cpu, "physical_package_id");
  if (package.empty()) return "-0";
  int alike = 0;
  for (const int other : cpus) alike += topology(other, "physical_package_id") == package ? 1 : 0;
  return "-" + package + (alike > 1 ? "-die-" + topology(cpu, "die_id") : "");
}

Domain domain_of(const std::string& event, const std::string& place) {
  Domain domain;
  domain.meter = "perf";
  if (event == "energy-psys") {
    domain.name = "psys";
    domain.scope = Scope::kBoard;
    domain.adds = false;
  } else if (event == "energy-pkg") {
    domain.name = "package" + place;
  } else if (event == "energy-ram") {
    domain.name = "dram" + place;
  } else {
    domain.name = (event == "energy-cores" ? "core" : event == "energy-gpu" ? "uncore" : event.substr(7)) + place;
    domain.inside = "package" + place;
    domain.adds = false;
  }
  return domain;
}

std::string refused(const MeterOptions& options, int error) {
  if (error != EACCES && error != EPERM) return "perf_event_open: " + reason(error);
  return "perf_event_open: " + reason(error) + " (perf_event_paranoid is " +
         read_small(options.proc_root + "/sys/kernel/perf_event_paranoid").text +
         "): run with CAP_PERFMON, or as root: sysctl kernel.perf_event_paranoid=0";
}

void add_event(const MeterOptions& options, const PerfApi& api, const std::string& folder, const std::string& event,
               uint32_t type, Found& found) {
  const auto config = config_of(read_small(folder + "/events/" + event).text);
  const auto scale = decimal_of(read_small(folder + "/events/" + event + ".scale").text);
  const std::vector<int> cpus = cpus_of(read_small(folder + "/cpumask").text);
  for (const int cpu : cpus) {
    const Domain domain = domain_of(event, place_of(options, cpu, cpus));
    if (!config || !scale || *scale <= 0) {
      found.sources.push_back(
          unreadable(domain, folder + "/events/" + event + ": expected an event and a scale, got neither"));
    } else {
      const int file = api.open(type, *config, cpu);
      if (file < 0) {
        found.sources.push_back(unreadable(domain, refused(options, -file)));
      } else {
        found.sources.push_back(std::make_shared<PerfEvent>(std::make_shared<const PerfApi>(api), file, *scale));
        found.sources.back()->domain = domain;
      }
    }
    if (event == "energy-psys") break;  // one for the whole machine
  }
}

}  // namespace

PerfApi PerfApi::system() {
  PerfApi api;
#if defined(__linux__)
  api.open = [](uint32_t type, uint64_t config, int cpu) {
    perf_event_attr attributes{};
    attributes.size = sizeof attributes;
    attributes.type = type;
    attributes.config = config;
    const long file = ::syscall(SYS_perf_event_open, &attributes, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
    return file < 0 ? -errno : static_cast<int>(file);
  };
#else
  api.open = [](uint32_t, uint64_t, int) { return -ENOSYS; };
#endif
  api.read = [](int file, uint64_t* ticks) {
    return ::read(file, ticks, sizeof *ticks) == sizeof *ticks ? 0 : errno != 0 ? errno : EIO;
  };
  api.close = [](int file) { ::close(file); };
  return api;
}

void find_perf_with(const MeterOptions& options, const PerfApi& api, Found& found) {
  if (options.sysfs_root.empty()) return;
  const std::string folder = options.sysfs_root + "/bus/event_source/devices/power";
  const auto type = number_of(read_small(folder + "/type").text);
  if (!type) {
    found.notes.push_back("perf: the kernel has no events named 'power' (" + folder + ")");
    return;
  }
  for (const std::string& event : names_in(folder + "/events")) {
    if (event.starts_with("energy-") && event.find('.') == std::string::npos) {
      add_event(options, api, folder, event, static_cast<uint32_t>(*type), found);
    }
  }
}

void find_perf(const MeterOptions& options, Found& found) {
  if (options.perf) find_perf_with(options, PerfApi::system(), found);
}

}  // namespace jouleprune::energy::meters
