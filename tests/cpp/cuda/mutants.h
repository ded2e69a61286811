// Kernels in which one barrier, commit or wait was forgotten: each must be found.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>

#include "simt/host/launcher.h"
#include "cuda/sweep.h"

namespace jouleprune::cuda {

/// `run(options, sites)` runs the kernels, inserts the places of all barriers, commits and waits that were reached, and
/// returns what was found wrong. Without any of these places some schedule must find something; with all of them none
/// may.
inline void expect_every_barrier_needed(
    const std::function<std::string(const simt::host::Options&, std::set<simt::host::Site>&)>& run) {
  using simt::host::Options, simt::host::Schedule, simt::host::Site;
  std::set<Site> sites;
  std::vector<Options> all;
  for (const auto schedule :
       {Schedule::kForward, Schedule::kReverse, Schedule::kWarpAhead, Schedule::kLaneLate, Schedule::kRandom}) {
    Options options;
    options.schedule = schedule;
    all.push_back(options);
    ASSERT_EQ(run(options, sites), "");
  }
  ASSERT_FALSE(sites.empty());
  for (const auto& site : sites) {
    bool found = false;
    for (auto options : all) {
      options.dropped = site;
      std::set<Site> ignored;
      found = found || !run(options, ignored).empty();
    }
    EXPECT_TRUE(found) << "nothing finds that the barrier, commit or wait at " << site.text() << " is missing";
  }
}

}  // namespace jouleprune::cuda
