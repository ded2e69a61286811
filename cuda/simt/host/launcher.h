// Launches a kernel body in the emulator, block by block.
#pragma once
#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "simt/host/lane.h"

namespace jouleprune::simt::host {

/// The counterpart of simt::DeviceLauncher: the same launch code runs on either.
struct Launcher {
  GlobalMemory& memory;
  Options options;
  Report report;

  explicit Launcher(GlobalMemory& m, Options o = {}) : memory(m), options(std::move(o)) {}

  template <class Kernel>
  void launch(Grid grid, uint32_t shared, const typename Kernel::Params& params) {
    std::vector<int64_t> order(static_cast<size_t>(grid.x * grid.y));
    std::iota(order.begin(), order.end(), 0);
    if (options.schedule == Schedule::kReverse) {
      std::reverse(order.begin(), order.end());
    } else if (options.schedule == Schedule::kRandom) {
      std::shuffle(order.begin(), order.end(), std::mt19937_64(options.seed));
    }
    for (const auto place : order) {
      Block block(Kernel::kThreads, shared, place % grid.x, place / grid.x, grid.y, options, memory, fibers(), report);
      block.run([&](int thread) { Kernel::run(Lane(block, thread), params); });
    }
  }

  /// Errors of the run, and outputs that it left unwritten.
  std::string problems() const {
    std::string all = report.text();
    for (const auto& missing : memory.unwritten()) {
      all += missing + "\n";
    }
    return all;
  }

 private:
  static FiberPool& fibers() {
    static thread_local FiberPool pool;
    return pool;
  }
};

}  // namespace jouleprune::simt::host
