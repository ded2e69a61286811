// Joules and seconds of one run, with intervals: windows in two stages. The first stage's spread says how many windows
// the target needs; looking after every window and stopping at a lucky moment would make intervals too short.
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "energy/meters/series.h"

namespace jouleprune {
namespace {

using energy::meters::Series;
using energy::meters::Taken;

constexpr double kRefreshes = 50;  // a window: its two ends are known to a refresh each
constexpr double kShortestWindowS = 0.1;
constexpr int kMostWindows = 1000;

void check(const MeasureOptions& options) {
  const auto refuse = [](const std::string& name, const std::string& expected, double got) {
    throw std::invalid_argument("measure: " + name + ": expected " + expected + ", got " + std::to_string(got));
  };
  if (!(options.target > 0 && options.target < 1)) refuse("target", "a share above 0 and below 1", options.target);
  if (!(options.max_s > 0)) refuse("max_s", "seconds above 0", options.max_s);
  if (options.min_windows < 4 || options.min_windows > kMostWindows)
    refuse("min_windows", "4 to 1000", options.min_windows);
  if (!(options.window_s >= 0 && std::isfinite(options.window_s)))
    refuse("window_s", "seconds, or 0", options.window_s);
  if (!(options.idle_s >= 0 && std::isfinite(options.idle_s))) refuse("idle_s", "seconds, or 0", options.idle_s);
}

/// What was seen so far.
struct Windows {
  std::vector<double> moments, seconds;
  std::vector<Taken> taken;

  /// Mean per run of what `pick` finds in every window; nothing when one lacks it.
  std::optional<Estimate> of(const std::function<std::optional<double>(const Taken&)>& pick) const {
    std::vector<double> samples;
    for (const Taken& window : taken) {
      const auto joules = pick(window);
      if (!joules) return std::nullopt;
      samples.push_back(*joules);
    }
    return mean_with_drift(moments, samples);
  }
  Estimate time() const { return mean_with_drift(moments, seconds); }

  /// By scope; where nothing adds, by domain.
  std::map<std::string, Estimate> totals() const {
    std::map<std::string, Estimate> found;
    for (const auto& [name, unused] : taken.front().joules()) {
      const auto total = of([&name](const Taken& window) -> std::optional<double> {
        const auto joules = window.joules();
        const auto at = joules.find(name);
        return at == joules.end() ? std::nullopt : std::optional<double>(at->second);
      });
      if (total) found[name] = *total;
    }
    return found;
  }
  /// The widest interval of what is asked for.
  double relative() const {
    double widest = 0;
    const auto all = totals();
    for (const auto& [name, total] : all) widest = std::max(widest, total.relative());
    return all.empty() ? time().relative() : widest;
  }
};

DomainMeasurement domain_of(const Windows& windows, size_t index, const std::optional<WindowEnergy>& idle) {
  const DomainEnergy& first = windows.taken.front().energy.domains[index];
  DomainMeasurement measured{first.domain, first.scope, first.adds, std::nullopt, std::nullopt, first.status};
  measured.energy_j = windows.of([index](const Taken& window) -> std::optional<double> {
    const auto& joules = window.energy.domains[index].energy_j;
    return joules ? std::optional<double>(*joules / static_cast<double>(window.runs)) : std::nullopt;
  });
  for (const Taken& window : windows.taken) {
    const DomainEnergy& domain = window.energy.domains[index];
    if (!measured.energy_j && !domain.energy_j) measured.status = domain.status;
  }
  if (idle && idle->domains[index].energy_j) measured.idle_w = *idle->domains[index].energy_j / idle->time_s;
  return measured;
}

}  // namespace

Measurement measure(const std::function<void(int64_t)>& run, Meters& meters, const MeasureOptions& options) {
  check(options);
  Measurement result;
  result.before = meters.conditions();
  const double window_s = std::max({options.window_s, kRefreshes * meters.refresh_s(), kShortestWindowS});
  Series series(run, meters, options.synchronise, window_s, options.seed);
  std::optional<WindowEnergy> idle;
  if (options.idle_s > 0 && meters.any()) idle = series.idle(options.idle_s);

  result.runs_per_window = series.runs_for(window_s);
  Windows windows;
  const double begin = meters.clock().now();
  const auto take = [&] {
    windows.taken.push_back(series.take(result.runs_per_window));
    const Taken& taken = windows.taken.back();
    windows.moments.push_back(meters.clock().now() - begin);
    windows.seconds.push_back(taken.energy.time_s / static_cast<double>(taken.runs));
  };
  for (int i = 0; i < options.min_windows; ++i) take();
  const double excess = windows.relative() / options.target;
  const double cost = std::max(series.cost_s(result.runs_per_window), 1e-9);
  const double affordable = std::floor((options.max_s - (meters.clock().now() - begin)) / cost) + options.min_windows;
  const double wanted =
      std::min({std::ceil(options.min_windows * excess * excess), affordable, static_cast<double>(kMostWindows)});
  while (static_cast<double>(windows.taken.size()) < wanted) take();

  result.time_s = windows.time();
  for (size_t i = 0; i < meters.domains().size(); ++i) result.domains.push_back(domain_of(windows, i, idle));
  result.totals = windows.totals();
  result.windows = static_cast<int>(windows.taken.size());
  result.reached = windows.relative() <= options.target;
  result.after = meters.conditions();
  return result;
}

}  // namespace jouleprune
