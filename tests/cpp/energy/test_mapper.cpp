// The search for mappings against brute force: every way to cut small layers up, in every order of loops.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "energy/nest/mapper.h"

namespace jouleprune::test {
namespace {

using namespace energy::nest;

/// Two levels and a row of units: `inner_words` in each unit.
Device small_device(int64_t inner_words, int64_t units, bool keeps_inputs) {
  Device device;
  DeviceLevel outer, inner;
  outer.keeps = {true, true, true};
  outer.capacity_bits = std::numeric_limits<double>::infinity();
  outer.x = {units, {kM, kC}};
  inner.keeps = {true, keeps_inputs, true};
  inner.capacity_bits = static_cast<double>(16 * inner_words);
  device.levels = {outer, inner};
  return device;
}

Prices small_prices() {
  Prices prices;
  prices.read_pj_per_bit = {10, 0.3};
  prices.write_pj_per_bit = {12, 0.4};
  return prices;
}

/// Calls `use` with every [outer, spread, inner] whose product is `size`.
template <class Use>
void each_cut(int64_t size, const Use& use) {
  for (int64_t outer = 1; outer <= size; ++outer) {
    for (int64_t spread = 1; outer * spread <= size; ++spread) {
      if (size % (outer * spread) == 0) use(std::array<int64_t, 3>{outer, spread, size / (outer * spread)});
    }
  }
}

double least_by_force(const Problem& problem, const Device& device, const Prices& prices) {
  double least = std::numeric_limits<double>::infinity();
  const std::array<size_t, 3> dims = {kM, kC, kN};
  each_cut(problem.sizes[kM], [&](const auto& m) {
    each_cut(problem.sizes[kC], [&](const auto& c) {
      each_cut(problem.sizes[kN], [&](const auto& n) {
        if (n[1] > 1 || m[1] * c[1] > device.levels[0].x.extent) return;
        const std::array<std::array<int64_t, 3>, 3> cuts = {m, c, n};
        std::array<size_t, 3> outer = {0, 1, 2};
        do {
          std::array<size_t, 3> inner = {0, 1, 2};
          do {
            Tiling tiling;
            tiling.levels.resize(2);
            for (size_t i = 0; i < 3; ++i) {
              tiling.levels[0].loops.push_back({dims[outer[i]], cuts[outer[i]][0]});
              tiling.levels[1].loops.push_back({dims[inner[i]], cuts[inner[i]][2]});
            }
            tiling.levels[0].x = {{kM, m[1]}, {kC, c[1]}};
            const Layout layout = lay_out(problem, device, tiling);
            const NestCounts counts = count(layout.workload, layout.mapping);
            if (fits(layout, counts, device, prices.bits))
              least = std::min(least, storage_pj(layout, counts, device, prices));
          } while (std::next_permutation(inner.begin(), inner.end()));
        } while (std::next_permutation(outer.begin(), outer.end()));
      });
    });
  });
  return least;
}

double found_pj(const Problem& problem, const Device& device, const Prices& prices, size_t evaluations = 600) {
  const Tiling tiling = find_tiling(problem, device, prices, evaluations);
  const Layout layout = lay_out(problem, device, tiling);
  const NestCounts counts = count(layout.workload, layout.mapping);
  EXPECT_TRUE(fits(layout, counts, device, prices.bits));
  return storage_pj(layout, counts, device, prices);
}

TEST(Mapper, NeverWorseThanBruteForceOnSmallLayers) {
  for (const auto& [m, c, n] : {std::array{4, 4, 4}, std::array{6, 2, 3}, std::array{1, 8, 2}, std::array{12, 1, 5},
                                std::array{3, 5, 7}, std::array{1, 1, 1}}) {
    for (const int64_t words : {3, 6, 17, 40}) {
      for (const int64_t units : {1, 2, 4}) {
        for (const bool keeps_inputs : {true, false}) {
          Problem problem;
          problem.sizes[kM] = m, problem.sizes[kC] = c, problem.sizes[kN] = n;
          const Device device = small_device(words, units, keeps_inputs);
          const double least = least_by_force(problem, device, small_prices());
          EXPECT_LE(found_pj(problem, device, small_prices()), least * (1 + 1e-12))
              << m << "x" << c << "x" << n << ", " << words << " words, " << units << " units";
        }
      }
    }
  }
}

TEST(Mapper, CloseToBruteForceWhereItSamples) {
  Problem problem;
  problem.sizes[kM] = 32, problem.sizes[kC] = 48, problem.sizes[kN] = 16;
  const Device device = small_device(64, 8, true);
  const double least = least_by_force(problem, device, small_prices());
  EXPECT_LE(found_pj(problem, device, small_prices()), 1.15 * least);
  EXPECT_LE(found_pj(problem, device, small_prices(), 6000), 1.05 * least);
}

TEST(Mapper, MoreEvaluationsAreNeverWorse) {
  Problem problem;
  problem.sizes = {1, 96, 60, 3, 3, 4, 27, 27};
  const Device device = small_device(300, 16, true);
  double before = std::numeric_limits<double>::infinity();
  for (const size_t evaluations : {20, 100, 400, 1000}) {
    const double pj = found_pj(problem, device, small_prices(), evaluations);
    EXPECT_LE(pj, before);
    before = pj;
  }
}

TEST(Mapper, PrimeAndHugeSizesAreCutUpToo) {
  Problem problem;
  problem.sizes[kM] = 1009, problem.sizes[kC] = 4099, problem.sizes[kN] = 7;
  const Device device = small_device(200, 8, true);
  const Tiling none{{{}, {}}};
  const Layout plain = lay_out(problem, device, none);
  const double untiled = storage_pj(plain, count(plain.workload, plain.mapping), device, small_prices());
  EXPECT_LT(found_pj(problem, device, small_prices()), untiled / 2);
}

TEST(Mapper, RoundsUpToFourSignificantBits) {
  EXPECT_EQ(rounded_up(1), 1);
  EXPECT_EQ(rounded_up(13), 13);
  EXPECT_EQ(rounded_up(17), 18);
  EXPECT_EQ(rounded_up(1000), 1024);
  EXPECT_EQ(rounded_up(384), 384);
  for (int64_t size = 1; size < 5000; ++size) {
    EXPECT_GE(rounded_up(size), size);
    EXPECT_LE(8 * rounded_up(size), 9 * size + 8);
    EXPECT_GE(rounded_up(size + 1), rounded_up(size));
  }
}

}  // namespace
}  // namespace jouleprune::test
