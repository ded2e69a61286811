// From raw readings of one source to joules that only grow: wraps, resets, failures, integration of power.
#pragma once
#include <jouleprune/meters.h>

#include <memory>
#include <optional>
#include <string>

namespace jouleprune::energy::meters {

class Track {
 public:
  explicit Track(std::shared_ptr<EnergySource> source) : source_(std::move(source)) {}

  /// Reads the source at `now`. With `anew` the time since the last reading is not counted: nobody watched.
  void sample(double now, bool anew = false);

  double joules() const { return joules_; }
  bool read() const { return last_.has_value(); }  ///< the last reading succeeded
  /// Failures, resets and wraps that cannot be counted so far: a window during which it rises has no joules.
  int64_t failures() const { return failures_; }
  const std::string& failure() const { return failure_; }
  /// Times at which the reading was seen to change: how many, and the mean of the seconds between them.
  int changes() const { return changes_; }
  double refresh_s() const { return changes_ > 1 ? (last_change_ - first_change_) / (changes_ - 1) : 0; }
  double watts() const { return last_ ? last_->watts : 0; }
  /// Longest time between two readings at which a wrap can still be counted; infinite for counters that do not wrap.
  double longest_gap_s() const;
  EnergySource& source() const { return *source_; }

 private:
  void fail(const std::string& why);
  void count(uint64_t ticks, double seconds);

  std::shared_ptr<EnergySource> source_;
  std::optional<EnergySource::Reading> last_;
  double last_time_ = 0, joules_ = 0;
  uint64_t range_ = 0;
  int64_t failures_ = 0;
  std::string failure_;
  int changes_ = 0;
  double first_change_ = 0, last_change_ = 0;
};

}  // namespace jouleprune::energy::meters
