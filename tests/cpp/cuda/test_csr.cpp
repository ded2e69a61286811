// Products with csr weights: the CUDA bodies in the emulator against sums in double.
#include <gtest/gtest.h>

#include "cuda/csr_problem.h"
#include "cuda/mutants.h"
#include "cuda/sweep.h"

namespace jouleprune::cuda::csr {
namespace {

using simt::host::GlobalMemory;
using simt::host::Launcher;
using simt::host::Options;
using simt::host::Site;

// Odd first, then ordinary ones.
std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{0, 5},
                                   {5, 0},
                                   {1, 1},
                                   {3, 70},
                                   {16, 64},
                                   {17, 65},
                                   {33, 130},
                                   {20, 200},
                                   {30, 66}}) {
    for (const int64_t n : {0, 1, 5, 8, 13, 31, 33, 64, 70}) {
      for (const double density : {0.5, 0.05, 1.0}) {
        all.push_back({rows, cols, n, density});
      }
    }
  }
  return all;
}

template <class T>
void sweep(Kernels kernels, size_t every = 1) {
  size_t turn = 0;
  const auto all = shapes();
  for (size_t i = 0; i < all.size(); i += thinning()) {
    const Problem<T> problem(all[i], 11 + i);
    // Each lane's shuffles are what takes time: of csr by multiply-adds some of the shapes for each type.
    for (const auto& options : i % every == 0 ? schedules(turn++) : std::vector<Options>()) {
      const bool transposed = turn % 2 == 0;
      const Epilogue epilogue{turn % 3 == 0 ? problem.bias.data() : nullptr,
                              turn % 5 == 0 ? problem.residual.data() : nullptr, static_cast<Activation>(turn % 4)};
      GlobalMemory memory;
      Launcher launcher(memory, options);
      const auto y = run_product(problem, kernels, transposed, static_cast<int32_t>(1 + turn % 3), epilogue, launcher);
      ASSERT_EQ(launcher.problems(), "") << all[i].text();
      ASSERT_EQ(difference(problem, transposed, epilogue, y), "") << "transposed " << transposed << " turn " << turn;
    }
  }
}

TEST(CsrBodies, ByEntriesHalf) { sweep<simt::Half>(Kernels::kByEntries, 2); }
TEST(CsrBodies, ByEntriesFloat) { sweep<float>(Kernels::kByEntries, 3); }
TEST(CsrBodies, ByEntriesDouble) { sweep<double>(Kernels::kByEntries, 3); }
TEST(CsrBodies, ByTokensBFloat16) { sweep<simt::BFloat16>(Kernels::kByTokens); }
TEST(CsrBodies, ByTokensFloat) { sweep<float>(Kernels::kByTokens, 3); }
TEST(CsrBodies, ByTokensDouble) { sweep<double>(Kernels::kByTokens, 3); }
TEST(CsrBodies, TilesHalf) { sweep<simt::Half>(Kernels::kTiles); }
TEST(CsrBodies, TilesBFloat16) { sweep<simt::BFloat16>(Kernels::kTiles); }

template <class T>
void check_dots(const Shape& shape, const Options& options) {
  const Problem<T> problem(shape, 5);
  const auto rows = rows_of_entries(problem.structure());
  Array<T> gradient(problem.nnz);
  GlobalMemory memory;
  memory.add("rows", rows.data(), rows.size() * 4, simt::host::Access::kRead);
  memory.add("columns", problem.columns.data(), problem.columns.size() * 4, simt::host::Access::kRead);
  memory.add("x", problem.turned[0].data(), problem.turned[0].bytes(), simt::host::Access::kRead);
  memory.add("dy", problem.turned[1].data(), problem.turned[1].bytes(), simt::host::Access::kRead);
  memory.add("gradient", gradient.data(), gradient.bytes(), simt::host::Access::kWriteAll);
  Launcher launcher(memory, options);
  launch_kernel<SampledDots<T>>(launcher, {rows.data(), problem.columns.data(), problem.nnz, problem.turned[1].data(),
                                           problem.turned[0].data(), problem.pitch(), shape.n, gradient.data()});
  ASSERT_EQ(launcher.problems(), "") << shape.text();
  for (int64_t k = 0; k < problem.nnz; ++k) {
    double expected = 0, size = 0;
    for (int64_t j = 0; j < shape.n; ++j) {
      const double term =
          static_cast<double>(simt::widen(problem.inputs[1][j * shape.rows + rows[static_cast<size_t>(k)]])) *
          simt::widen(problem.inputs[0][j * shape.cols + problem.columns[static_cast<size_t>(k)]]);
      expected += term;
      size += std::abs(term);
    }
    ASSERT_NEAR(simt::widen(gradient[k]), expected, tolerance<T>(expected, size, false))
        << shape.text() << " entry " << k;
  }
}

TEST(CsrBodies, SampledDots) {
  size_t turn = 0;
  const auto all = shapes();
  for (size_t i = 0; i < all.size(); i += 3 * thinning()) {
    const auto options = schedules(turn++).front();
    turn % 3 == 0   ? check_dots<float>(all[i], options)
    : turn % 3 == 1 ? check_dots<simt::Half>(all[i], options)
                    : check_dots<double>(all[i], options);
  }
}

// The first shape's pipeline ends in its first stage, which the output then overwrites.
TEST(CsrMutants, Tiles) {
  const std::vector<std::pair<Shape, int32_t>> cases = {{{16, 64 * 4, 8, 0.5}, 1},  {{16, 64 * 13, 8, 0.5}, 1},
                                                        {{16, 64 * 9, 14, 0.5}, 2}, {{64, 64 * 4, 30, 0.5}, 1},
                                                        {{64, 64 * 5, 64, 0.5}, 1}, {{16, 64 * 26, 8, 0.3}, 1}};
  expect_every_barrier_needed([&](const Options& options, std::set<Site>& sites) {
    std::string found;
    for (const auto& [shape, splits] : cases) {
      const Problem<simt::Half> problem(shape, 3);
      GlobalMemory memory;
      Launcher launcher(memory, options);
      const auto y = run_product(problem, Kernels::kTiles, false, splits, {}, launcher);
      sites.insert(launcher.report.barriers.begin(), launcher.report.barriers.end());
      found += launcher.problems() + difference(problem, false, {}, y);
    }
    return found;
  });
}

simt::host::Counters counters_of(const Shape& shape, int64_t& format_bytes) {
  const Problem<simt::Half> problem(shape, 9);
  GlobalMemory memory;
  Options options;
  options.collect_requests = true;
  Launcher launcher(memory, options);
  run_product(problem, Kernels::kTiles, false, 1, {}, launcher);
  EXPECT_EQ(launcher.problems(), "");
  const auto tiles = tiles_of(problem.structure());
  format_bytes = static_cast<int64_t>(tiles.headers.size() + 2 * tiles.order.size());
  return launcher.report.counters;
}

TEST(CsrCounters, TilesAreReadOnceCoalescedAndMultiplyDense) {
  for (const int64_t n : {8, 16, 32, 64}) {
    int64_t bytes = 0;
    const auto c = counters_of({64, 512, n, 0.5}, bytes);
    EXPECT_LE(static_cast<double>(c.bytes_read.at("headers") + c.bytes_read.at("packed")),
              1.02 * static_cast<double>(bytes));
    // Groups begin at any multiple of 16 bytes: a request touches one sector more than it fills, at most.
    EXPECT_LE(static_cast<double>(c.sectors_read.at("packed")),
              1.2 * static_cast<double>(c.sectors_needed.at("packed")))
        << n;
    EXPECT_EQ(c.conflicts.at("ldmatrix"), 0u);
    EXPECT_EQ(c.mma, 64u / 16 * (512 / 16) * static_cast<uint64_t>(n) / 8);
  }
}

TEST(CsrTiles, TakeFewerBytesThanDenseFrom30PercentZeros) {
  const auto bytes_per_weight = [](double density) {
    const Problem<simt::Half> problem({256, 1024, 1, density}, 1);
    const auto tiles = tiles_of(problem.structure());
    return static_cast<double>(tiles.headers.size() + 2 * tiles.order.size() + 4 * tiles.starts.size()) /
           (256.0 * 1024);
  };
  EXPECT_LT(bytes_per_weight(0.7), 1.6);
  EXPECT_LT(bytes_per_weight(0.5), 1.2);
  EXPECT_LT(bytes_per_weight(0.2), 0.6);
}

TEST(CsrTiles, SplitsFillTheMachineAndKeepFourGroups) {
  EXPECT_EQ(splits_for(4096, 4096, 8, 132), 1);   // 256 strips: a block each
  EXPECT_EQ(splits_for(1024, 4096, 8, 132), 4);   // 64 blocks
  EXPECT_EQ(splits_for(4096, 4096, 64, 132), 4);  // 64 blocks of four strips
  EXPECT_EQ(splits_for(16, 256, 1, 132), 1);      // one part of four groups
  EXPECT_EQ(splits_for(0, 0, 0, 132), 1);
}

}  // namespace
}  // namespace jouleprune::cuda::csr
