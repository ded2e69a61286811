// Real joules: the machine's energy counters, windows over them, and measurements with an interval. Torch-free.
// How it is done, and how far it can be trusted: docs/measurement.md.
#pragma once
#include <jouleprune/error.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace jouleprune {

/// What a domain's joules include. Joules of different scope overlap, so they are never added.
enum class Scope { kChip, kPackage, kBoard, kModule, kWall };

/// "chip", "package", "board", "module", "wall".
std::string scope_name(Scope scope);

/// One thing that counts joules.
struct Domain {
  std::string name;  ///< "package-0", "dram-0", "core-0", "psys", "gpu-0", "gpu-0:power", "vdd_in"
  std::string
      meter;  ///< "perf", "rapl", "zeusd", "nvml", "hwmon"; of several that offer a domain the first that counts
  Scope scope = Scope::kPackage;
  std::string inside;       ///< the domain that contains this one; empty = none
  bool adds = true;         ///< whether it counts in the total of its scope: never a part beside its whole
  bool integrated = false;  ///< sampled watts, not a counter
  bool available = false;   ///< it moved while the machine was busy
  std::string status;       ///< "counts", or why not and what helps
  double refresh_s = 0;     ///< seconds between two values of the counter, as seen; 0 = not seen
  double averaging_s = 0;   ///< a reading is the mean over so many seconds
};

/// Joules of one domain in one window.
struct DomainEnergy {
  std::string domain;
  Scope scope = Scope::kPackage;
  bool adds = true;
  std::optional<double> energy_j;  ///< absent is not 0: `status` says why
  std::string status;
};

struct WindowEnergy {
  double time_s = 0;
  std::vector<DomainEnergy> domains;

  /// Sum over the domains of that scope that add; absent when one of them is, or there is none.
  std::optional<double> total_j(Scope scope) const;
};

/// Time as the meters see it; tests bring their own.
struct MeterClock {
  std::function<double()> now;        ///< seconds since some fixed moment
  std::function<void(double)> sleep;  ///< idle for so many seconds
  std::function<void(double)> spin;   ///< busy for so many seconds
  bool real = true;                   ///< false: nothing is sampled in the background, poll() is called by hand

  static MeterClock system();
};

/// A source of joules: everything that a back end must provide. Back ends of one's own go into MeterOptions::sources.
class EnergySource {
 public:
  virtual ~EnergySource() = default;
  struct Reading {
    uint64_t ticks = 0;  ///< counters
    double watts = 0;    ///< sampled power
    std::string error;   ///< not empty: the reading failed, and why
  };
  virtual Reading read() = 0;
  /// Value after which the counter starts again from 0, in ticks; 0 = 64 bits. Asked again at each wrap.
  virtual uint64_t range() const { return 0; }
  virtual double joules_per_tick() const { return 1e-6; }
  /// Above it two wraps between two readings cannot be told from one.
  virtual double most_watts() const { return 1000; }
  /// Clocks and caps, for the record.
  virtual std::map<std::string, std::string> conditions() const { return {}; }

  Domain domain;  ///< filled in by the back end, but for what is found out by watching
};

struct MeterOptions {
  std::string sysfs_root = "/sys";  ///< powercap, perf, hwmon; empty: not looked for
  std::string proc_root = "/proc";
  std::string nvml_library = "libnvidia-ml.so.1";      ///< empty: not looked for
  std::string zeusd_socket = "/var/run/zeusd.sock";    ///< empty: not looked for
  bool perf = true;                                    ///< ask the kernel's perf events
  std::vector<int> gpus;                               ///< NVML indices; empty: all
  bool cross_check = false;                            ///< beside each GPU counter its power, integrated
  std::vector<std::shared_ptr<EnergySource>> sources;  ///< one's own, before all others
  MeterClock clock = MeterClock::system();
  double verify_s = 0.06;  ///< how long counters are watched under load; slow ones ten times as long
};

class EnergyWindow;

/// The machine's meters. Opening keeps one core busy for `verify_s` and watches which counters move. Thread-safe;
/// windows may nest and overlap. While one is open, a thread reads the counters often enough for their wraps, and
/// sampled power every 20 ms.
class Meters {
 public:
  /// Throws core::MeterError: `verify_s` is not above 0, or `gpus` names one that is not there. No meter at all is no
  /// error: why_none().
  explicit Meters(MeterOptions options = {});
  ~Meters();
  Meters(const Meters&) = delete;
  Meters& operator=(const Meters&) = delete;

  /// What was found, countable or not.
  const std::vector<Domain>& domains() const;
  bool any() const;
  /// Sentences about what was looked for and not found, a back end each, with what helps.
  const std::vector<std::string>& notes() const;
  /// Empty when a domain counts; else why none does, in words.
  std::string why_none() const;
  /// Longest refresh and longest averaging time of the domains that count.
  double refresh_s() const;
  double averaging_s() const;
  const MeterClock& clock() const;
  /// Reads every source once: done in the background with a real clock.
  void poll();
  /// Clocks and power caps as the system tells them, for the record: {"cpu0 scaling_cur_freq": "2100000", ...}.
  std::map<std::string, std::string> conditions() const;

 private:
  friend class EnergyWindow;
  struct State;
  std::unique_ptr<State> state_;
};

/// Joules between construction and end(). `synchronise` is called at both ends, before the counters are read: devices
/// that work in the background must have finished.
class EnergyWindow {
 public:
  explicit EnergyWindow(Meters& meters, std::function<void()> synchronise = {});
  /// Ends by itself and writes to `*into`.
  EnergyWindow(Meters& meters, WindowEnergy* into, std::function<void()> synchronise = {});
  ~EnergyWindow();
  EnergyWindow(const EnergyWindow&) = delete;
  EnergyWindow& operator=(const EnergyWindow&) = delete;

  /// Throws std::logic_error when it was ended before.
  WindowEnergy end();

 private:
  struct Mark;
  Meters& meters_;
  WindowEnergy* into_ = nullptr;
  std::function<void()> synchronise_;
  std::unique_ptr<Mark> begin_;
};

/// A mean and its 95 % interval.
struct Estimate {
  double value = 0, low = 0, high = 0;
  double relative() const { return value != 0 ? (high - low) / 2 / (value < 0 ? -value : value) : 0; }
};

/// Mean of samples taken at `times`, with a 95 % interval: Student's t of what is left when a linear drift over the
/// times is taken out of the spread (not out of the mean: a drift is real). Throws std::invalid_argument for fewer than
/// 4 samples.
Estimate mean_with_drift(const std::vector<double>& times, const std::vector<double>& samples,
                         double confidence = 0.95);

/// Quantile of Student's t with a whole number of degrees, by bisection of the exact distribution.
double student_t(double probability, int degrees);

struct MeasureOptions {
  double target =
      0.02;           ///< half of the 95 % interval over the mean, of the energy (of the time where there is no meter)
  double max_s = 60;  ///< stop asking for more windows after so long; never under `min_windows`
  int min_windows = 12;
  double window_s = 0;  ///< at least; 0: as short as the meters allow (50 refreshes, never under 0.1 s)
  double idle_s = 0;    ///< above 0: idle power is measured first, apart
  uint64_t seed = 0;    ///< of the pauses that shift the work against the meter's sampling
  std::function<void()> synchronise;
};

struct DomainMeasurement {
  std::string domain;
  Scope scope = Scope::kPackage;
  bool adds = true;
  std::optional<Estimate> energy_j;  ///< per run; idle power included
  std::optional<double> idle_w;      ///< measured apart, subtracted nowhere
  std::string status;
};

/// Of one run of the work.
struct Measurement {
  Estimate time_s;
  std::vector<DomainMeasurement> domains;
  std::map<std::string, Estimate> totals;  ///< joules by scope, sums over the domains that add
  int windows = 0;
  int64_t runs_per_window = 0;                       ///< at least
  bool reached = false;                              ///< the target
  std::map<std::string, std::string> before, after;  ///< Meters::conditions()
};

/// Runs the work so often that each window is long enough for the meters, in so many windows that the interval meets
/// the target (two stages: Stein, Ann. Math. Stat. 16, 1945), after a warm-up. Before each window comes a pause of
/// random length, then work for as long as a reading averages over. `run(n)` must do the work n times.
Measurement measure(const std::function<void(int64_t)>& run, Meters& meters, const MeasureOptions& options = {});

struct CheckItem {
  std::string name;  ///< "counter moves", "linear", "A/A", "counter against power"
  enum class State { kPassed, kFailed, kNotPossible } state = State::kNotPossible;
  std::string detail;  ///< with numbers
};

/// Whether this machine's joules of this work can be believed.
struct MeterCheck {
  std::vector<CheckItem> items;
  bool passed = false;  ///< no item failed, and counter, linearity and A/A were possible
  std::map<std::string, std::string> before, after;
};

struct CheckOptions {
  double seconds = 80;  ///< of work; more where the meters need longer windows
  uint64_t seed = 0;    ///< as in MeasureOptions
  std::function<void()> synchronise;
};

/// Joules rise under load; 1x, 2x, 4x the runs take 1x, 2x, 4x the joules; the work against itself shows no difference;
/// a counter agrees with integrated power. Orders are mirrored (ABBA), so that a linear drift cancels.
MeterCheck check_meters(const std::function<void(int64_t)>& run, Meters& meters, const CheckOptions& options = {});

}  // namespace jouleprune
