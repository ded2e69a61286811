#include "simt/host/block.h"

#include <algorithm>

#include "simt/host/thread_sanitizer.h"

namespace jouleprune::simt::host {

Block::Block(int threads, size_t shared_bytes, int64_t x, int64_t y, int64_t blocks_y, const Options& options,
             GlobalMemory& memory, FiberPool& fibers, Report& report)
    : threads_(threads),
      x_(x),
      y_(y),
      blocks_y_(blocks_y),
      options_(options),
      memory_(memory),
      fibers_(fibers),
      report_(report),
      shared_(shared_bytes),
      states_(static_cast<size_t>(threads)),
      warps_(static_cast<size_t>(threads / kLanes)),
      random_(options.seed * 1000003 + static_cast<uint64_t>(x * 7919 + y)),
      late_lane_(static_cast<int>(options.seed % kLanes)),
      ahead_warp_(static_cast<int>(options.seed % static_cast<uint64_t>(threads / kLanes))) {
  fibers_.reserve(static_cast<size_t>(threads));
}

void Block::run(const std::function<void(int)>& body) {
  struct Start {
    Block* block;
    const std::function<void(int)>* body;
    int thread;
  };
  std::vector<Start> starts;
  for (int t = 0; t < threads_; ++t) {
    starts.push_back({this, &body, t});
    ready_.push_back(t);
  }
  for (int t = 0; t < threads_; ++t) {
    fibers_[static_cast<size_t>(t)].begin(
        [](void* argument) {
          const auto& start = *static_cast<const Start*>(argument);
          (*start.body)(start.thread);
        },
        &starts[static_cast<size_t>(t)]);
  }
  int alive = threads_;
  while (alive > 0) {
    if (ready_.empty()) {
      report_deadlock();
      return;  // the fibers are abandoned: bodies hold plain data
    }
    const int t = choose();
    auto& state = states_[static_cast<size_t>(t)];
    if (!fibers_[static_cast<size_t>(t)].resume()) {
      state.state = State::kEnded;
      --alive;
      if (!state.open.empty() || !state.groups.empty()) {
        error("thread " + std::to_string(t) + " ended before its copies landed", std::source_location::current());
      }
    }
  }
  if (options_.collect_requests) {
    requests_.count(report_.counters);
  }
}

// Takes the chosen one out of ready_.
int Block::choose() {
  size_t best = 0;
  const auto rank = [&](int t) -> int64_t {
    switch (options_.schedule) {
      case Schedule::kForward: return t;
      case Schedule::kReverse: return -t;
      case Schedule::kWarpAhead: return t / kLanes == ahead_warp_ ? -1 : t;
      case Schedule::kLaneLate: return t % kLanes == late_lane_ ? threads_ + t : (t * 37) % 64;
      case Schedule::kRandom: return 0;
    }
    return 0;
  };
  if (options_.schedule == Schedule::kRandom) {
    best = random_() % ready_.size();
  } else {
    for (size_t i = 1; i < ready_.size(); ++i) {
      best = rank(ready_[i]) < rank(ready_[best]) ? i : best;
    }
  }
  const int chosen = ready_[best];
  ready_[best] = ready_.back();
  ready_.pop_back();
  return chosen;
}

void Block::error(const std::string& what, const std::source_location& at) {
  const std::string kind = what.substr(0, what.find_first_of("0123456789"));
  const std::string place = " in " + Site(at).text();
  for (const auto& known : report_.errors) {
    if (known.starts_with(kind) && known.ends_with(place)) {
      return;
    }
  }
  report_.errors.push_back(what + " (block " + std::to_string(x_) + ", " + std::to_string(y_) + ")" + place);
}

void Block::report_deadlock() {
  std::map<std::string, int> waiting;
  for (const auto& state : states_) {
    if (state.state == State::kWaiting) {
      ++waiting[std::string(state.waits_for) + " in " + state.where];
    }
  }
  std::string text = "deadlock:";
  for (const auto& [where, count] : waiting) {
    text += " " + std::to_string(count) + " threads wait for " + where + ";";
  }
  error(text, std::source_location::current());
}

bool Block::dropped(const std::source_location& at) {
  Site site(at);
  const bool here = options_.dropped == site;
  report_.barriers.insert(std::move(site));
  return here;
}

Moment Block::now(int t) const { return {t, t / kLanes, epoch_, warps_[static_cast<size_t>(t / kLanes)].epoch}; }

void Block::block_until_released(int t) {
  states_[static_cast<size_t>(t)].state = State::kWaiting;
  fibers_[static_cast<size_t>(t)].give_back();
}

void Block::barrier(int t, const std::source_location& at) {
  if (dropped(at)) {
    return;
  }
  auto site = Site(at).text();
  if (at_barrier_ == 0) {
    barrier_site_ = site;
  } else if (site != barrier_site_) {
    error("threads of a block meet at different barriers: " + barrier_site_ + " and " + site, at);
  }
  states_[static_cast<size_t>(t)].waits_for = "a barrier of the block";
  states_[static_cast<size_t>(t)].where = std::move(site);
  const void* const order = &meeting_points_[epoch_ % 2];
  sanitizer::release(order);
  if (++at_barrier_ < threads_) {
    block_until_released(t);
    sanitizer::acquire(order);
    return;
  }
  sanitizer::acquire(order);
  at_barrier_ = 0;
  ++epoch_;
  ++report_.counters.barriers;
  for (int other = 0; other < threads_; ++other) {
    if (other != t) {
      states_[static_cast<size_t>(other)].state = State::kReady;
      ready_.push_back(other);
    }
  }
}

bool Block::arrive(int t, const char* what, const std::source_location& at) {
  auto& warp = warps_[static_cast<size_t>(t / kLanes)];
  auto& state = states_[static_cast<size_t>(t)];
  state.waits_for = what;
  state.where = std::to_string(at.line()) + ":" + std::to_string(at.column());
  if (warp.arrived == 0) {
    warp.what = what;
    warp.where = state.where;
  } else if (std::strcmp(warp.what, what) != 0 || warp.where != state.where) {
    error(std::string("lanes of a warp meet at different instructions: ") + warp.what + " at " + warp.where + " and " +
              what,
          at);
  }
  return ++warp.arrived == kLanes;
}

void Block::release_warp(int warp) {
  warps_[static_cast<size_t>(warp)].arrived = 0;
  for (int other = warp * kLanes; other < (warp + 1) * kLanes; ++other) {
    auto& state = states_[static_cast<size_t>(other)];
    if (state.state == State::kWaiting) {
      state.state = State::kReady;
      ready_.push_back(other);
    }
  }
}

void Block::warp_barrier(int t, const std::source_location& at) {
  if (!dropped(at)) {
    auto& warp = warps_[static_cast<size_t>(t / kLanes)];
    const void* const order = &warp.meeting_points[warp.epoch % 2];
    sanitizer::release(order);
    meet<int, int>(t, "a barrier of the warp", 0, [&](const auto&, auto&) { ++warp.epoch; }, at);
    sanitizer::acquire(order);
  }
}

}  // namespace jouleprune::simt::host
