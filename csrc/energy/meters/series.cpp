#include "energy/meters/series.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace jouleprune::energy::meters {
namespace {

constexpr double kWarmUpS = 0.5;
constexpr int64_t kMostRuns = int64_t{1} << 30;
constexpr Scope kScopes[] = {Scope::kChip, Scope::kPackage, Scope::kBoard, Scope::kModule, Scope::kWall};

}  // namespace

Series::Series(const Work& work, Meters& meters, std::function<void()> synchronise, double window_s, uint64_t seed)
    : work_(work), meters_(meters), synchronise_(std::move(synchronise)), random_(seed) {
  if (!work_) throw std::invalid_argument("run: expected a function, got none");
  // Doubling until a call takes long enough to be timed; that warms caches and clocks as well.
  const double enough = std::min(window_s, kWarmUpS);
  int64_t runs = 1;
  work_(1);
  for (;;) {
    const double begin = meters_.clock().now();
    work_(runs);
    if (synchronise_) synchronise_();
    const double seconds = meters_.clock().now() - begin;
    run_s_ = seconds / static_cast<double>(runs);
    if (seconds >= enough || runs >= kMostRuns) break;
    runs *= 2;
  }
  if (!(run_s_ > 0))
    throw std::invalid_argument("run: expected work that takes time, got none in " + std::to_string(runs) + " runs");
}

int64_t Series::runs_for(double seconds) const {
  return std::max<int64_t>(1,
                           static_cast<int64_t>(std::min(std::ceil(seconds / run_s_), static_cast<double>(kMostRuns))));
}

Taken Series::take(int64_t runs) {
  // The sensor's own period is no longer in step with the work's, and what its reading averages over is the work alone.
  const double pause = meters_.refresh_s() * std::uniform_real_distribution<double>(0, 1)(random_);
  if (pause > 0) meters_.clock().sleep(pause);
  if (meters_.averaging_s() > 0) work_(runs_for(meters_.averaging_s()));
  // Windows of one length hold n refreshes or, rarely, n + 1: ten alike would look exact and be wrong by the rare one.
  const int64_t refresh_runs = std::min(static_cast<int64_t>(std::ceil(meters_.refresh_s() / run_s_)), runs);
  runs += std::uniform_int_distribution<int64_t>(0, refresh_runs)(random_);
  EnergyWindow window(meters_, synchronise_);
  work_(runs);
  return {window.end(), runs};
}

WindowEnergy Series::idle(double seconds) {
  meters_.clock().sleep(meters_.averaging_s());
  EnergyWindow window(meters_, synchronise_);
  meters_.clock().sleep(seconds);
  return window.end();
}

double Series::cost_s(int64_t runs) const {
  return meters_.refresh_s() / 2 + meters_.averaging_s() + run_s_ * static_cast<double>(runs);
}

std::map<std::string, double> Taken::joules() const {
  auto found = joules_of(energy);
  for (auto& [name, joules] : found) joules /= static_cast<double>(runs);
  return found;
}

std::map<std::string, double> joules_of(const WindowEnergy& window) {
  std::map<std::string, double> joules;
  for (const Scope scope : kScopes) {
    if (const auto total = window.total_j(scope)) joules[scope_name(scope)] = *total;
  }
  if (!joules.empty()) return joules;
  for (const DomainEnergy& domain : window.domains) {
    if (domain.energy_j) joules[domain.domain] = *domain.energy_j;
  }
  return joules;
}

}  // namespace jouleprune::energy::meters
