// Meters: what the back ends found, and which of it counts.
#include <jouleprune/meters.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <thread>

#include "energy/meters/backends.h"
#include "energy/meters/files.h"
#include "energy/meters/state.h"

namespace jouleprune {
namespace {

using energy::meters::Found;
using energy::meters::milliseconds;
using energy::meters::Track;

constexpr double kSliceS = 1e-3;        // of the load while counters are watched: the finest refresh that is seen
constexpr double kPowerPeriodS = 0.02;  // sampled power: the fastest sensors refresh at 50 Hz
constexpr double kLongestPeriodS = 5;
constexpr double kSlow = 10;  // times verify_s, for counters that take their time
constexpr int kEnoughChanges = 4;

/// Its reading failed when it was opened.
class Unreadable : public EnergySource {
 public:
  explicit Unreadable(std::string status) : status_(std::move(status)) {}
  Reading read() override { return {0, 0, status_}; }

 private:
  std::string status_;
};

}  // namespace

namespace energy::meters {

std::string milliseconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.0f ms", 1e3 * seconds);
  return text;
}

std::shared_ptr<EnergySource> unreadable(Domain domain, const std::string& status) {
  auto source = std::make_shared<Unreadable>(status);
  source->domain = std::move(domain);
  return source;
}

}  // namespace energy::meters

std::string scope_name(Scope scope) {
  switch (scope) {
    case Scope::kChip: return "chip";
    case Scope::kPackage: return "package";
    case Scope::kBoard: return "board";
    case Scope::kModule: return "module";
    case Scope::kWall: return "wall";
  }
  throw std::invalid_argument("scope: expected one of the five, got " + std::to_string(static_cast<int>(scope)));
}

MeterClock MeterClock::system() {
  MeterClock clock;
  clock.now = [] { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); };
  clock.sleep = [](double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); };
  clock.spin = [now = clock.now](double seconds) {
    volatile double value = 1;
    for (const double end = now() + seconds; now() < end;) {
      for (int i = 0; i < 1000; ++i) value = value * 1.0000001 + 1e-9;
    }
  };
  return clock;
}

/// Which counters move while the machine is busy, and how often.
void Meters::State::watch() {
  const MeterClock& clock = options.clock;
  const double begin = clock.now();
  for (auto& track : tracks) track->sample(begin);
  const auto slow_waits = [&] {
    return std::any_of(tracks.begin(), tracks.end(), [&](const auto& track) {
      return track->read() && track->source().domain.averaging_s > options.verify_s &&
             track->changes() < kEnoughChanges;
    });
  };
  for (double now = begin; now < begin + options.verify_s || (now < begin + kSlow * options.verify_s && slow_waits());
       now = clock.now()) {
    clock.spin(kSliceS);
    for (auto& track : tracks) {
      if (track->read()) track->sample(clock.now());
    }
  }
  const double watched = clock.now() - begin;
  for (auto& track : tracks) {
    Domain& domain = track->source().domain;
    domain.refresh_s = track->refresh_s();
    const bool counts = domain.integrated ? track->watts() > 0 : track->joules() > 0;
    domain.available = track->read() && counts;
    const std::string remark = domain.status.empty() ? "" : "; " + domain.status;
    if (domain.available) {
      domain.status = "counts" + remark;
    } else if (!track->read()) {
      domain.status = track->failure();
    } else {
      domain.status = "present but not counting: it stood still while a core was busy for " + milliseconds(watched) +
                      " (virtual machines show counters that nothing feeds)" + remark;
    }
  }
}

/// Of several sources of one domain the first that counts; else the first, with everybody's reason.
void Meters::State::choose() {
  std::vector<std::unique_ptr<Track>> chosen;
  for (auto& track : tracks) {
    const Domain& domain = track->source().domain;
    const auto same = std::find_if(chosen.begin(), chosen.end(),
                                   [&](const auto& other) { return other->source().domain.name == domain.name; });
    if (same == chosen.end()) {
      chosen.push_back(std::move(track));
      continue;
    }
    Domain& before = (*same)->source().domain;
    if (before.available) continue;
    if (domain.available) {
      *same = std::move(track);
    } else {
      before.status = before.meter + ": " + before.status + "; " + domain.meter + ": " + domain.status;
    }
  }
  tracks = std::move(chosen);
  for (const auto& track : tracks) domains.push_back(track->source().domain);
}

void Meters::State::sample(bool anew) {
  for (size_t i = 0; i < tracks.size(); ++i) {
    if (domains[i].available) tracks[i]->sample(options.clock.now(), anew);
  }
}

double Meters::State::period_s() const {
  double period = kLongestPeriodS;
  for (size_t i = 0; i < tracks.size(); ++i) {
    if (domains[i].available)
      period = std::min(period, domains[i].integrated ? kPowerPeriodS : tracks[i]->longest_gap_s() / 2);
  }
  return period;
}

void Meters::State::poll_until_stopped() {
  std::unique_lock lock(mutex);
  const auto period = std::chrono::duration<double>(period_s());
  while (!stopping) {
    if (open_windows == 0) {
      changed.wait(lock, [this] { return stopping || open_windows > 0; });
    } else if (!changed.wait_for(lock, period, [this] { return stopping; })) {
      if (open_windows > 0) sample(false);
    }
  }
}

Meters::Meters(MeterOptions options) : state_(std::make_unique<State>()) {
  if (!(options.verify_s > 0))
    throw core::MeterError("verify_s: expected seconds above 0, got " + std::to_string(options.verify_s));
  State& state = *state_;
  Found found;
  found.sources = options.sources;
  energy::meters::find_perf(options, found);
  energy::meters::find_rapl(options, found);
  energy::meters::find_zeusd(options, found);
  energy::meters::find_nvml(options, found);
  energy::meters::find_hwmon(options, found);
  state.options = std::move(options);
  state.notes = std::move(found.notes);
  for (auto& source : found.sources) state.tracks.push_back(std::make_unique<Track>(std::move(source)));
  if (!state.tracks.empty()) state.watch();
  state.choose();
  if (any() && state.options.clock.real) state.poller = std::thread([&state] { state.poll_until_stopped(); });
}

Meters::~Meters() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->changed.notify_all();
  if (state_->poller.joinable()) state_->poller.join();
}

const std::vector<Domain>& Meters::domains() const { return state_->domains; }
const std::vector<std::string>& Meters::notes() const { return state_->notes; }
const MeterClock& Meters::clock() const { return state_->options.clock; }

bool Meters::any() const {
  return std::any_of(state_->domains.begin(), state_->domains.end(),
                     [](const Domain& domain) { return domain.available; });
}

std::string Meters::why_none() const {
  if (any()) return "";
  std::string text;
  const auto add = [&text](const std::string& sentence) { text += (text.empty() ? "" : ". ") + sentence; };
  for (const Domain& domain : domains()) add(domain.name + " (" + domain.meter + "): " + domain.status);
  for (const std::string& note : notes()) add(note);
  return text;
}

double Meters::refresh_s() const {
  double longest = 0;
  for (const Domain& domain : domains()) {
    if (domain.available) longest = std::max(longest, domain.refresh_s);
  }
  return longest;
}

double Meters::averaging_s() const {
  double longest = 0;
  for (const Domain& domain : domains()) {
    if (domain.available) longest = std::max(longest, domain.averaging_s);
  }
  return longest;
}

void Meters::poll() {
  const std::lock_guard lock(state_->mutex);
  if (state_->open_windows > 0) state_->sample(false);
}

std::map<std::string, std::string> Meters::conditions() const {
  std::map<std::string, std::string> found;
  const std::string cpus = state_->options.sysfs_root + "/devices/system/cpu";
  for (const char* file : {"scaling_governor", "scaling_cur_freq", "scaling_max_freq"}) {
    const std::string text = energy::meters::read_small(cpus + "/cpu0/cpufreq/" + file).text;
    if (!text.empty()) found[std::string("cpu0 ") + file] = text;
  }
  const std::string no_turbo = energy::meters::read_small(cpus + "/intel_pstate/no_turbo").text;
  if (!no_turbo.empty()) found["intel_pstate no_turbo"] = no_turbo;
  const std::lock_guard lock(state_->mutex);
  for (const auto& track : state_->tracks) found.merge(track->source().conditions());
  return found;
}

}  // namespace jouleprune
