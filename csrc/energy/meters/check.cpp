// Four questions that a meter must answer before its joules are called measured.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <stdexcept>

#include "energy/meters/series.h"

namespace jouleprune {
namespace {

using energy::meters::Series;
using energy::meters::Taken;
using State = CheckItem::State;

constexpr double kUnitRefreshes = 10;
constexpr double kShortestS = 0.1;
// Multiples of the shortest window: two mirrored rounds of 1x, 2x, 4x, then six times A B B A.
constexpr int kLinear[] = {1, 2, 4, 4, 2, 1, 1, 2, 4, 4, 2, 1};
constexpr int kQuads = 6;
constexpr double kUnits = 28 + 4 * kQuads;
// A counter's ends are known to a refresh each; energy per run may differ by this share between 1x, 2x and 4x.
constexpr double kLinearShare = 0.05;
constexpr double kPowerShare = 0.05;
constexpr double kWidestDifference = 0.1;
// An honest machine fails once in a hundred.
constexpr double kConfidence = 0.99;

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f %%", 100 * share);
  return text;
}

std::string watts(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g W", value);
  return text;
}

/// Windows, and joules per run by name of what was counted.
struct Seen {
  std::vector<Taken> windows;
  std::vector<std::map<std::string, double>> joules;

  void add(Taken window) {
    joules.push_back(window.joules());
    windows.push_back(std::move(window));
  }
  /// Those that every window has.
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    if (joules.empty()) return found;
    for (const auto& [name, unused] : joules.front()) {
      if (std::all_of(joules.begin(), joules.end(), [&name](const auto& window) { return window.contains(name); }))
        found.push_back(name);
    }
    return found;
  }
};

void add(CheckItem& item, const std::string& sentence) { item.detail += (item.detail.empty() ? "" : "; ") + sentence; }

CheckItem moves(const Seen& seen, const WindowEnergy& idle) {
  CheckItem item{"counter moves", State::kPassed, ""};
  const auto at_rest = energy::meters::joules_of(idle);
  for (const std::string& name : seen.names()) {
    double joules = 0, seconds = 0;
    for (size_t i = 0; i < seen.windows.size(); ++i) {
      joules += seen.joules[i].at(name) * static_cast<double>(seen.windows[i].runs);
      seconds += seen.windows[i].energy.time_s;
    }
    const auto rest = at_rest.find(name);
    const double idle_w = rest == at_rest.end() ? 0 : rest->second / idle.time_s, load_w = joules / seconds;
    add(item, name + ": " + watts(load_w) + " under load, " + watts(idle_w) + " idle");
    if (!(load_w > idle_w)) item.state = State::kFailed;
  }
  return item;
}

CheckItem linear(const Seen& seen) {
  CheckItem item{"linear", State::kPassed, ""};
  for (const std::string& name : seen.names()) {
    std::map<int, double> joules, runs;
    for (size_t i = 0; i < seen.windows.size(); ++i) {
      const double count = static_cast<double>(seen.windows[i].runs);
      joules[kLinear[i]] += seen.joules[i].at(name) * count;
      runs[kLinear[i]] += count;
    }
    double mean = 0, worst = 0;
    for (const auto& [multiple, sum] : joules) mean += sum / runs[multiple] / static_cast<double>(joules.size());
    for (const auto& [multiple, sum] : joules) worst = std::max(worst, std::abs(sum / runs[multiple] / mean - 1));
    add(item, name + ": joules per run at 1x, 2x, 4x within " + percent(worst) + " of their mean (allowed " +
                  percent(kLinearShare) + ")");
    if (!(worst <= kLinearShare)) item.state = State::kFailed;
  }
  return item;
}

/// Of the quads A B B A: the difference of the work to itself.
CheckItem against_itself(const Seen& seen) {
  CheckItem item{"A/A", State::kPassed, ""};
  for (const std::string& name : seen.names()) {
    std::vector<double> moments, differences;
    double mean = 0;
    for (size_t i = 0; i + 3 < seen.joules.size(); i += 4) {
      const auto at = [&](size_t place) { return seen.joules[i + place].at(name); };
      differences.push_back((at(0) - at(1) - at(2) + at(3)) / 2);
      moments.push_back(static_cast<double>(i));
      mean += (at(0) + at(1) + at(2) + at(3)) / 4;
    }
    mean /= static_cast<double>(differences.size());
    const Estimate difference = mean_with_drift(moments, differences, kConfidence);
    add(item, name + ": difference " + percent(difference.low / mean) + " to " + percent(difference.high / mean));
    const bool contains = difference.low <= 0 && difference.high >= 0;
    const bool narrow = (difference.high - difference.low) / 2 <= kWidestDifference * mean;
    if (!narrow) item.detail += " (too noisy to tell: at most " + percent(kWidestDifference) + " to each side)";
    if (!contains || !narrow) item.state = State::kFailed;
  }
  return item;
}

/// A counter and the same device's sampled power, integrated.
CheckItem against_power(const std::vector<Taken>& windows, const Meters& meters) {
  CheckItem item{"counter against power", State::kNotPossible, ""};
  for (const Domain& power : meters.domains()) {
    if (!power.integrated || power.inside.empty() || power.name != power.inside + ":power") continue;
    double counted = 0, integrated = 0;
    for (const Taken& window : windows) {
      for (const DomainEnergy& domain : window.energy.domains) {
        if (domain.domain == power.inside) counted += domain.energy_j.value_or(0);
        if (domain.domain == power.name) integrated += domain.energy_j.value_or(0);
      }
    }
    if (!(counted > 0 && integrated > 0)) continue;
    const double difference = counted / integrated - 1;
    item.state = item.state == State::kFailed || std::abs(difference) > kPowerShare ? State::kFailed : State::kPassed;
    add(item, power.inside + ": counter " + percent(difference) + " from integrated power");
  }
  if (item.detail.empty()) item.detail = "no device here has a counter and a power sensor";
  return item;
}

}  // namespace

MeterCheck check_meters(const std::function<void(int64_t)>& run, Meters& meters, const CheckOptions& options) {
  if (!(options.seconds > 0))
    throw std::invalid_argument("check_meters: seconds: expected more than 0, got " + std::to_string(options.seconds));
  MeterCheck check;
  check.before = meters.conditions();
  if (!meters.any()) {
    check.items.push_back({"counter moves", State::kNotPossible, meters.why_none()});
    check.after = check.before;
    return check;
  }
  const double unit_s = std::max({options.seconds / kUnits, kUnitRefreshes * meters.refresh_s(), kShortestS});
  Series series(run, meters, options.synchronise, unit_s, options.seed);
  const int64_t runs = series.runs_for(unit_s);
  const WindowEnergy idle = series.idle(unit_s);
  Seen lines, quads;
  for (const int multiple : kLinear) lines.add(series.take(multiple * runs));
  for (int i = 0; i < 4 * kQuads; ++i) quads.add(series.take(runs));

  if (lines.names().empty() || quads.names().empty()) {
    check.items.push_back({"counter moves", State::kFailed,
                           "a window had no joules: " + lines.windows.front().energy.domains.front().status});
  } else {
    check.items.push_back(moves(lines, idle));
    check.items.push_back(linear(lines));
    check.items.push_back(against_itself(quads));
    check.items.push_back(against_power(lines.windows, meters));
    check.passed = std::none_of(check.items.begin(), check.items.end(),
                                [](const auto& item) { return item.state == State::kFailed; });
  }
  check.after = meters.conditions();
  return check;
}

}  // namespace jouleprune
