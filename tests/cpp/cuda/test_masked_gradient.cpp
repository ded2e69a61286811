// Gradient of the kept values by tiles, in the emulator, against sums in double.
#include <gtest/gtest.h>

#include "cuda/csr_problem.h"
#include "cuda/mutants.h"
#include "cuda/sweep.h"

namespace jouleprune::cuda::csr {
namespace {

using simt::host::Access;
using simt::host::GlobalMemory;
using simt::host::Launcher;
using simt::host::Options;
using simt::host::Site;

template <class T>
std::string run(const Problem<T>& problem, Launcher& launcher) {
  const auto& s = problem.s;
  const auto tiles = mask_tiles_of(problem.structure());
  Array<T> gradient(problem.nnz);
  auto& memory = launcher.memory;
  const auto add_list = [&](const char* name, const std::vector<int32_t>& list) {
    memory.add(name, list.data(), list.size() * 4, Access::kRead);
  };
  add_list("tiles", tiles.tiles);
  add_list("masks", tiles.masks);
  add_list("firsts", tiles.firsts);
  memory.add("x", problem.turned[0].data(), problem.turned[0].bytes(), Access::kRead);
  memory.add("dy", problem.turned[1].data(), problem.turned[1].bytes(), Access::kRead);
  memory.add("gradient", gradient.data(), gradient.bytes(), Access::kWriteAll);
  launch_kernel<MaskedGradient<T>>(
      launcher, {tiles.tiles.data(), reinterpret_cast<const uint32_t*>(tiles.masks.data()), tiles.firsts.data(),
                 static_cast<int64_t>(tiles.tiles.size() / 2), s.rows, s.cols, problem.turned[1].data(),
                 problem.turned[0].data(), problem.pitch(), s.n, gradient.data()});
  if (auto problems = launcher.problems(); !problems.empty()) {
    return problems;
  }
  const auto rows = rows_of_entries(problem.structure());
  for (int64_t k = 0; k < problem.nnz; ++k) {
    double expected = 0, size = 0;
    for (int64_t j = 0; j < s.n; ++j) {
      const double term =
          static_cast<double>(simt::widen(problem.inputs[1][j * s.rows + rows[static_cast<size_t>(k)]])) *
          simt::widen(problem.inputs[0][j * s.cols + problem.columns[static_cast<size_t>(k)]]);
      expected += term;
      size += std::abs(term);
    }
    const double got = simt::widen(gradient[k]);
    if (!(std::abs(got - expected) <= tolerance<T>(expected, size, false))) {
      return s.text() + ": entry " + std::to_string(k) + ": expected " + std::to_string(expected) + ", got " +
             std::to_string(got);
    }
  }
  return {};
}

template <class T>
void sweep() {
  size_t turn = 0;
  for (const auto& [rows, cols] :
       {std::pair<int64_t, int64_t>{0, 5}, {5, 0}, {1, 1}, {3, 70}, {64, 64}, {65, 63}, {130, 100}}) {
    for (const int64_t n : {0, 1, 7, 8, 33, 64, 65, 130}) {
      for (const double density : {0.5, 0.05, 0.004, 1.0}) {
        const Problem<T> problem({rows, cols, n, density}, turn);
        for (const auto& options : turn % thinning() == 0 ? schedules(turn) : std::vector<Options>()) {
          GlobalMemory memory;
          Launcher launcher(memory, options);
          ASSERT_EQ(run(problem, launcher), "") << problem.s.text();
        }
        ++turn;
      }
    }
  }
}

TEST(MaskedGradientBodies, Half) { sweep<simt::Half>(); }
TEST(MaskedGradientBodies, BFloat16) { sweep<simt::BFloat16>(); }

TEST(MaskedGradientBodies, EveryBarrierIsNeeded) {
  const Problem<simt::Half> first({64, 64, 330, 0.5}, 1), second({64, 64, 250, 0.5}, 2);
  expect_every_barrier_needed([&](const Options& options, std::set<Site>& sites) {
    std::string found;
    for (const auto* problem : {&first, &second}) {
      GlobalMemory memory;
      Launcher launcher(memory, options);
      found += run(*problem, launcher);
      sites.insert(launcher.report.barriers.begin(), launcher.report.barriers.end());
    }
    return found;
  });
}

TEST(MaskedGradientBodies, EmptyTilesAreSkipped) {
  Problem<simt::Half> problem({128, 256, 64, 0.0}, 1);
  // One entry in one of eight tiles.
  problem.columns = {130};
  problem.nnz = 1;
  problem.values = random_values<simt::Half>(problem.random, 1);
  std::fill(problem.offsets.begin() + 71, problem.offsets.end(), 1);
  GlobalMemory memory;
  Launcher launcher(memory);
  EXPECT_EQ(run(problem, launcher), "");
  EXPECT_EQ(launcher.report.counters.mma,
            4u * 8 * 4);  // strips of 16 outputs, tiles of 8 inputs, 64 batch rows in slabs of 16
  EXPECT_EQ(launcher.report.counters.conflicts.at("ldmatrix"), 0u);
}

}  // namespace
}  // namespace jouleprune::cuda::csr
