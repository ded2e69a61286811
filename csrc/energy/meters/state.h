// What Meters and EnergyWindow share.
#pragma once
#include <jouleprune/meters.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "energy/meters/track.h"

namespace jouleprune {

namespace energy::meters {
/// "60 ms".
std::string milliseconds(double seconds);
}  // namespace energy::meters

struct Meters::State {
  MeterOptions options;
  std::vector<Domain> domains;
  std::vector<std::unique_ptr<energy::meters::Track>> tracks;  // one for each domain; its source
  std::vector<std::string> notes;
  int open_windows = 0;
  mutable std::mutex mutex;
  std::condition_variable changed;
  bool stopping = false;
  std::thread poller;

  void watch();
  void choose();
  void sample(bool anew);
  double period_s() const;
  void poll_until_stopped();
};

}  // namespace jouleprune
