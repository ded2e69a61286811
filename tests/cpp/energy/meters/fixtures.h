// Time that tests move, and folders like those of sysfs.
#pragma once
#include <jouleprune/meters.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

namespace jouleprune::test {

/// Seconds pass only when something sleeps, spins or calls advance(); `tick` is told each step.
struct FakeTime {
  double now = 1000;
  double step = 0.02;  // of sleeping and advancing; spinning is finer
  std::function<void(double from, double to)> tick;

  void advance(double seconds) { advance(seconds, step); }
  void advance(double seconds, double at_once) {
    for (const double end = now + seconds; now < end - 1e-12;) {
      const double next = std::min(end, now + at_once);
      if (tick) tick(now, next);
      now = next;
    }
  }
  MeterClock clock() {
    MeterClock clock;
    clock.now = [this] { return now; };
    clock.sleep = [this](double seconds) { advance(seconds); };
    clock.spin = [this](double seconds) { advance(seconds, 1e-3); };
    clock.real = false;
    return clock;
  }
};

/// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "jouleprune-meters-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
    std::filesystem::permissions(path_, std::filesystem::perms(0755));
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  void write(const std::string& file, const std::string& text) const {
    const std::filesystem::path path = path_ / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text << "\n";
  }
  void remove(const std::string& file) const { std::filesystem::remove_all(path_ / file); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

/// Only what is under the folder; nothing of the real machine.
inline MeterOptions only(const Folder& folder, FakeTime& time) {
  MeterOptions options;
  options.sysfs_root = folder.path();
  options.proc_root = folder.path();
  options.nvml_library = "";
  options.zeusd_socket = "";
  options.perf = false;
  options.clock = time.clock();
  return options;
}

inline const Domain* find(const Meters& meters, const std::string& name) {
  for (const Domain& domain : meters.domains()) {
    if (domain.name == name) return &domain;
  }
  return nullptr;
}

inline const DomainEnergy& of(const WindowEnergy& window, const std::string& name) {
  for (const DomainEnergy& domain : window.domains) {
    if (domain.domain == name) return domain;
  }
  throw std::runtime_error("no domain " + name);
}

/// powercap zones whose counters rise with the time.
class Powercap {
 public:
  Powercap(const Folder& folder, FakeTime& time) : folder_(folder), time_(time) {
    folder.write("class/powercap/.keep", "");
    time_.tick = [this](double from, double to) { advance(to - from); };
  }
  /// `watts` 0: it stands still.
  void add(const std::string& zone, const std::string& name, double watts, double start_j = 0,
           double range_j = 262143.328850) {
    folder_.write(path(zone, "name"), name);
    folder_.write(path(zone, "max_energy_range_uj"), std::to_string(std::llround(range_j * 1e6)));
    zones_.push_back({zone, watts, start_j, range_j});
    show(zones_.back());
  }
  void vanish(const std::string& zone) {
    std::erase_if(zones_, [&](const Zone& known) { return known.name == zone; });
    folder_.remove("class/powercap/" + zone);
  }

 private:
  struct Zone {
    std::string name;
    double watts, joules, range_j;
  };
  static std::string path(const std::string& zone, const std::string& file) {
    return "class/powercap/" + zone + "/" + file;
  }
  void show(const Zone& zone) {
    folder_.write(path(zone.name, "energy_uj"), std::to_string(std::llround(zone.joules * 1e6)));
  }
  void advance(double seconds) {
    for (Zone& zone : zones_) {
      zone.joules = std::fmod(zone.joules + zone.watts * seconds, zone.range_j);
      show(zone);
    }
  }

  const Folder& folder_;
  FakeTime& time_;
  std::vector<Zone> zones_;
};

}  // namespace jouleprune::test
