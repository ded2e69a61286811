#include "energy/meters/track.h"

#include <limits>

namespace jouleprune::energy::meters {
namespace {

// A counter that may have run through more than half of its range between two readings may have wrapped once more than
// is seen.
constexpr double kSafeShare = 0.5;

std::string rounded(double seconds) { return std::to_string(static_cast<int64_t>(seconds + 0.5)); }

}  // namespace

void Track::fail(const std::string& why) {
  ++failures_;
  failure_ = why;
}

double Track::longest_gap_s() const {
  if (source_->domain.integrated || range_ == 0) return std::numeric_limits<double>::infinity();
  return kSafeShare * static_cast<double>(range_) * source_->joules_per_tick() / source_->most_watts();
}

void Track::count(uint64_t ticks, double seconds) {
  if (seconds > longest_gap_s()) {
    fail("read after " + rounded(seconds) + " s, when it may have wrapped more than once");
    return;
  }
  const double unit = source_->joules_per_tick();
  if (ticks >= last_->ticks) {
    joules_ += static_cast<double>(ticks - last_->ticks) * unit;
    return;
  }
  range_ = source_->range();  // anew: it is no constant
  if (range_ < last_->ticks) {
    fail("the counter went backwards: it was reset");
    return;
  }
  joules_ += static_cast<double>(ticks + (range_ - last_->ticks)) * unit;
}

void Track::sample(double now, bool anew) {
  EnergySource::Reading reading = source_->read();
  if (!reading.error.empty()) {
    fail(reading.error);
    last_.reset();
    return;
  }
  const bool integrated = source_->domain.integrated;
  if (last_) {
    const bool changed = integrated ? reading.watts != last_->watts : reading.ticks != last_->ticks;
    if (changed) {
      if (changes_ == 0) first_change_ = now;
      last_change_ = now;
      ++changes_;
    }
    if (!anew) {
      if (integrated) {
        joules_ += 0.5 * (last_->watts + reading.watts) * (now - last_time_);
      } else {
        count(reading.ticks, now - last_time_);
      }
    }
  } else {
    range_ = source_->range();
  }
  last_ = std::move(reading);
  last_time_ = now;
}

}  // namespace jouleprune::energy::meters
