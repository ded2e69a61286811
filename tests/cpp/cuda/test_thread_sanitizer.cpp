// The emulator's second opinion on races: a few kernels under ThreadSanitizer (simt/host/thread_sanitizer.h), each
// emulated thread a thread of its own to it. A program of its own, linked with -fsanitize=thread.
#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

#include "cuda/csr_problem.h"
#include "cuda/sweep.h"
#include "cuda/values.h"
#include "masks/smallest.h"
#include "pack/pack.h"
#include "simt/host/launcher.h"
#include "simt/host/thread_sanitizer.h"

namespace {
int reports = 0;

void watch() {
  reports = 0;
  jouleprune::simt::host::sanitizer::watching = true;
}
}
extern "C" {
// Called by the runtime for each race that it has found: one is enough.
void __tsan_on_report(void*) {
  ++reports;
  jouleprune::simt::host::sanitizer::watching = false;
}
// The texts are of no use here: code that was not compiled for the sanitizer has no lines. Every race counts, alike or not.
const char* __tsan_default_options() {
  return "log_path=/dev/null:symbolize=0:exitcode=0:suppress_equal_stacks=0:suppress_equal_addresses=0";
}
}

namespace jouleprune::cuda {
namespace {

using simt::host::Access;
using simt::host::GlobalMemory;
using simt::host::Launcher;
using simt::host::Options;
using simt::host::Schedule;
using simt::host::Site;

std::vector<Options> few_schedules() {
  std::vector<Options> all;
  for (const auto schedule : {Schedule::kForward, Schedule::kReverse, Schedule::kWarpAhead, Schedule::kRandom}) {
    Options options;
    options.schedule = schedule;
    all.push_back(options);
  }
  return all;
}

/// Runs the kernels; returns the places of their barriers.
std::set<Site> count_rows(const Options& options) {
  constexpr int64_t kRows = 300, kCols = 20;
  std::mt19937_64 random(1);
  Array<bool> kept(kRows * kCols);
  for (int64_t i = 0; i < kept.size(); ++i) kept[i] = random() % 2 == 0;
  Array<int32_t> counts(kRows), offsets(kRows + 1);
  Array<int64_t> total(1);
  GlobalMemory memory;
  memory.add("kept", kept.data(), kept.bytes(), Access::kRead);
  memory.add("counts", counts.data(), counts.bytes(), Access::kReadWrite);
  memory.add("offsets", offsets.data(), offsets.bytes(), Access::kReadWrite);
  memory.add("total", total.data(), total.bytes(), Access::kReadWrite);
  Launcher launcher(memory, options);
  pack::launch(launcher, pack::CsrRowsParams{kept.data(), kRows, kCols, counts.data(), offsets.data(), total.data()});
  return launcher.report.barriers;
}

std::set<Site> select_smallest(const Options& options) {
  constexpr int64_t kCount = 2500;
  std::mt19937_64 random(2);
  Array<float> scores(kCount);
  for (int64_t i = 0; i < kCount; ++i) scores[i] = static_cast<float>(random() % 3);
  masks::SelectState state{0, 1200};
  std::vector<uint32_t> counts(masks::kDigits), ties(2);
  Array<uint8_t> bits((kCount + 7) / 8);
  GlobalMemory memory;
  memory.add("scores", scores.data(), scores.bytes(), Access::kRead);
  memory.add("state", &state, sizeof(state), Access::kReadWrite);
  memory.add("counts", counts.data(), counts.size() * 4, Access::kReadWrite);
  memory.add("ties", ties.data(), ties.size() * 4, Access::kReadWrite);
  memory.add("bits", bits.data(), bits.bytes(), Access::kReadWrite);
  Launcher launcher(memory, options);
  masks::launch_smallest(launcher, {scores.data(), kCount, &state, counts.data(), ties.data(), bits.data(), 0});
  return launcher.report.barriers;
}

/// Asynchronous copies, ldmatrix and mma.
std::set<Site> masked_gradient(const Options& options) {
  const csr::Problem<simt::Half> problem({64, 64, 130, 0.5}, 1);
  const auto tiles = csr::mask_tiles_of(problem.structure());
  Array<simt::Half> gradient(problem.nnz);
  GlobalMemory memory;
  for (const auto* list : {&tiles.tiles, &tiles.masks, &tiles.firsts}) {
    memory.add("list", list->data(), list->size() * 4, Access::kRead);
  }
  memory.add("x", problem.turned[0].data(), problem.turned[0].bytes(), Access::kRead);
  memory.add("dy", problem.turned[1].data(), problem.turned[1].bytes(), Access::kRead);
  memory.add("gradient", gradient.data(), gradient.bytes(), Access::kWriteAll);
  Launcher launcher(memory, options);
  launch_kernel<csr::MaskedGradient<simt::Half>>(
      launcher, {tiles.tiles.data(), reinterpret_cast<const uint32_t*>(tiles.masks.data()), tiles.firsts.data(),
                 static_cast<int64_t>(tiles.tiles.size() / 2), problem.s.rows, problem.s.cols, problem.turned[1].data(),
                 problem.turned[0].data(), problem.pitch(), problem.s.n, gradient.data()});
  return launcher.report.barriers;
}

using Kernels = std::set<Site> (*)(const Options&);

class ThreadSanitizer : public testing::TestWithParam<Kernels> {};

TEST_P(ThreadSanitizer, FindsNoRace) {
  watch();
  for (const auto& options : few_schedules()) GetParam()(options);
  EXPECT_EQ(reports, 0);
}
INSTANTIATE_TEST_SUITE_P(Few, ThreadSanitizer, testing::Values(count_rows, select_smallest, masked_gradient));

TEST(ThreadSanitizerMutants, EveryMissingBarrierIsARace) {
  for (const Kernels run : std::vector<Kernels>{count_rows, select_smallest}) {  // all of whose synchronisations are barriers
    const auto sites = run(Options{});
    ASSERT_FALSE(sites.empty());
    for (const auto& site : sites) {
      watch();
      for (auto options : few_schedules()) {
        options.dropped = site;
        if (reports == 0) run(options);
      }
      EXPECT_GT(reports, 0) << "no race without the barrier at " << site.text();
    }
  }
}

}  // namespace
}  // namespace jouleprune::cuda
