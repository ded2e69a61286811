// Joules between two moments: differences of what every source has counted so far, so windows nest and overlap freely.
#include <stdexcept>

#include "energy/meters/state.h"

namespace jouleprune {

using energy::meters::milliseconds;
using energy::meters::Track;

std::optional<double> WindowEnergy::total_j(Scope scope) const {
  std::optional<double> total;
  for (const DomainEnergy& domain : domains) {
    if (!domain.adds || domain.scope != scope) continue;
    if (!domain.energy_j) return std::nullopt;
    total = total.value_or(0) + *domain.energy_j;
  }
  return total;
}

struct EnergyWindow::Mark {
  double time = 0;
  std::vector<double> joules;
  std::vector<int64_t> failures;
};

EnergyWindow::EnergyWindow(Meters& meters, std::function<void()> synchronise)
    : EnergyWindow(meters, nullptr, std::move(synchronise)) {}

EnergyWindow::EnergyWindow(Meters& meters, WindowEnergy* into, std::function<void()> synchronise)
    : meters_(meters), into_(into), synchronise_(std::move(synchronise)), begin_(std::make_unique<Mark>()) {
  if (synchronise_) synchronise_();
  Meters::State& state = *meters_.state_;
  const std::lock_guard lock(state.mutex);
  state.sample(state.open_windows == 0);
  ++state.open_windows;
  for (const auto& track : state.tracks) {
    begin_->joules.push_back(track->joules());
    begin_->failures.push_back(track->failures());
  }
  begin_->time = state.options.clock.now();
  state.changed.notify_all();
}

EnergyWindow::~EnergyWindow() {
  if (!begin_) return;
  try {
    WindowEnergy energy = end();
    if (into_ != nullptr) *into_ = std::move(energy);
  } catch (...) {  // a device that fails to synchronise while an exception passes: there is no energy to tell
    if (begin_) {
      const std::lock_guard lock(meters_.state_->mutex);
      --meters_.state_->open_windows;
    }
  }
}

WindowEnergy EnergyWindow::end() {
  if (!begin_) throw std::logic_error("EnergyWindow: it was ended before");
  if (synchronise_) synchronise_();
  Meters::State& state = *meters_.state_;
  const std::lock_guard lock(state.mutex);
  WindowEnergy energy;
  energy.time_s = state.options.clock.now() - begin_->time;
  state.sample(false);
  --state.open_windows;
  for (size_t i = 0; i < state.tracks.size(); ++i) {
    const Domain& domain = state.domains[i];
    const Track& track = *state.tracks[i];
    DomainEnergy counted{domain.name, domain.scope, domain.adds, std::nullopt, domain.status};
    const double joules = track.joules() - begin_->joules[i];
    if (domain.available && track.failures() != begin_->failures[i]) {
      counted.status = track.failure();
    } else if (domain.available && joules > 0) {
      counted.energy_j = joules;
    } else if (domain.available) {
      counted.status = "it did not move in this window of " + milliseconds(energy.time_s) +
                       ": shorter than its refresh, or it has stopped counting";
    }
    energy.domains.push_back(std::move(counted));
  }
  begin_.reset();
  return energy;
}

}  // namespace jouleprune
