// Windows of repeated work, as measurements and checks take them.
#pragma once
#include <jouleprune/meters.h>

#include <functional>
#include <random>

namespace jouleprune::energy::meters {

using Work = std::function<void(int64_t)>;

struct Taken {
  WindowEnergy energy;
  int64_t runs = 0;
  /// Of one run, by name: totals by scope; where nothing adds, the single domains.
  std::map<std::string, double> joules() const;
};

class Series {
 public:
  /// `window_s`: shortest window that is worth it. Runs the work a few times to learn how long it takes.
  Series(const Work& work, Meters& meters, std::function<void()> synchronise, double window_s, uint64_t seed);

  double run_s() const { return run_s_; }
  int64_t runs_for(double seconds) const;
  /// A pause of random length, work for as long as a reading averages over, then a window over `runs` runs and a random
  /// number more, up to what a refresh of the counter takes.
  Taken take(int64_t runs);
  /// Idle: nothing runs.
  WindowEnergy idle(double seconds);
  /// Seconds that take(runs) costs.
  double cost_s(int64_t runs) const;

 private:
  const Work& work_;
  Meters& meters_;
  std::function<void()> synchronise_;
  std::mt19937_64 random_;
  double run_s_ = 0;
};

/// As Taken::joules, of the whole window.
std::map<std::string, double> joules_of(const WindowEnergy& window);

}  // namespace jouleprune::energy::meters
