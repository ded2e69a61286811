// A machine whose true energy is known, and a sensor with the vices of real ones.
#pragma once
#include <jouleprune/meters.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "energy/meters/fixtures.h"

namespace jouleprune::test {

struct Vices {
  double period_s = 0.1;     ///< of the sensor
  double duty = 0.25;        ///< share of the period that is sampled
  double averaging_s = 1.0;  ///< a value is the mean over so long
  double noise = 0.01;       ///< of one sample, relative
  double drift = 0.03;       ///< power rises by this share as the chip warms up
  double warming_s = 40;     ///< time constant of that
  double tick_j = 1e-3;
  double range_j = 4000;  ///< the counter wraps there
  double offset_j = 0;    ///< a fault: joules that every burst of work costs the counter
};

/// Work of `run_s` whose first half draws 300 W and second half 150 W; 60 W when idle.
class SimulatedMachine {
 public:
  SimulatedMachine(double run_s, const Vices& vices, uint64_t seed) : run_s_(run_s), vices_(vices), random_(seed) {
    next_ = now_ + std::uniform_real_distribution<double>(0, vices.period_s)(random_);
    values_.assign(static_cast<size_t>(std::max(1.0, std::round(vices.averaging_s / vices.period_s))), kIdleW);
  }

  /// Joules of so many runs, truly.
  double work(int64_t runs) {
    counted_j_ += vices_.offset_j;
    const double begin = now_;
    pass(run_s_ * static_cast<double>(runs), true);
    return joules(begin, now_);
  }
  void idle(double seconds) { pass(seconds, false); }
  double now() const { return now_; }
  uint64_t ticks() const { return static_cast<uint64_t>(std::fmod(counted_j_, vices_.range_j) / vices_.tick_j); }
  const Vices& vices() const { return vices_; }
  std::function<void()> poll;

 private:
  static constexpr double kIdleW = 60, kHighW = 300, kLowW = 150;

  struct Stretch {
    double begin, end;
    bool busy;
  };
  /// Joules of a stretch up to t seconds after its begin, before drift.
  double shape(const Stretch& stretch, double t) const {
    if (!stretch.busy) return t * kIdleW;
    const double whole = std::floor(t / run_s_), part = t - whole * run_s_, half = run_s_ / 2;
    return whole * half * (kHighW + kLowW) + std::min(part, half) * kHighW + std::max(0.0, part - half) * kLowW;
  }
  double warmth(double t) const { return 1 + vices_.drift * (1 - std::exp(-(t - kBegin) / vices_.warming_s)); }
  /// Of the present and the last stretches. Warmth changes so slowly that its value in the middle of a quarter second
  /// will do.
  double joules(double from, double to) const {
    double sum = 0;
    for (const Stretch& stretch : stretches_) {
      const double begin = std::max(from, stretch.begin), end = std::min(to, stretch.end);
      for (double at = begin; at < end; at += 0.25) {
        const double next = std::min(end, at + 0.25);
        sum += (shape(stretch, next - stretch.begin) - shape(stretch, at - stretch.begin)) * warmth((at + next) / 2);
      }
    }
    return sum;
  }
  void pass(double seconds, bool busy) {
    const double end = now_ + seconds;
    stretches_.push_back({now_, end, busy});
    if (stretches_.size() > 16) stretches_.erase(stretches_.begin());
    while (next_ <= end) {
      const double sampled_s = vices_.duty * vices_.period_s;
      const double watts = joules(next_ - sampled_s, next_) / sampled_s *
                           (1 + vices_.noise * std::normal_distribution<double>()(random_));
      values_[place_++ % values_.size()] = watts;
      double mean = 0;
      for (const double value : values_) mean += value / static_cast<double>(values_.size());
      counted_j_ += mean * vices_.period_s;
      now_ = next_;
      next_ += vices_.period_s;
      if (poll) poll();
    }
    now_ = end;
  }

  static constexpr double kBegin = 100;
  double run_s_, now_ = kBegin, next_ = 0, counted_j_ = 3000;
  std::vector<Stretch> stretches_{{0, kBegin, false}};
  Vices vices_;
  std::mt19937_64 random_;
  std::vector<double> values_;
  size_t place_ = 0;
};

class SimulatedSource : public EnergySource {
 public:
  explicit SimulatedSource(SimulatedMachine& machine) : machine_(machine) {
    domain.name = "simulated";
    domain.meter = "test";
    domain.averaging_s = machine.vices().averaging_s;
  }
  Reading read() override { return {machine_.ticks(), 0, ""}; }
  uint64_t range() const override {
    return static_cast<uint64_t>(std::llround(machine_.vices().range_j / machine_.vices().tick_j));
  }
  double joules_per_tick() const override { return machine_.vices().tick_j; }

 private:
  SimulatedMachine& machine_;
};

inline MeterOptions options_of(SimulatedMachine& machine, const Folder& folder, FakeTime& unused) {
  MeterOptions options = only(folder, unused);
  options.sources = {std::make_shared<SimulatedSource>(machine)};
  options.clock.now = [&machine] { return machine.now(); };
  options.clock.sleep = [&machine](double seconds) { machine.idle(seconds); };
  options.clock.spin = options.clock.sleep;
  return options;
}

}  // namespace jouleprune::test
