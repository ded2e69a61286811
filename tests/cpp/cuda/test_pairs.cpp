// Products with weights of structure 2:4 on the sparse instructions, in the emulator, against sums in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "csr/launch.h"
#include "csr/pairs.h"
#include "cuda/sweep.h"
#include "cuda/values.h"
#include "simt/host/launcher.h"

namespace jouleprune::cuda::csr {
namespace {

using simt::host::Access;
using simt::host::GlobalMemory;
using simt::host::Launcher;
using simt::host::Options;

/// Random places, ascending in each four; the last group may be narrower.
std::vector<uint8_t> random_indices(std::mt19937_64& random, int64_t rows, int64_t cols) {
  std::vector<uint8_t> indices;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t first = 0; first < cols; first += 4) {
      std::vector<uint8_t> places(static_cast<size_t>(std::min<int64_t>(4, cols - first)));
      std::iota(places.begin(), places.end(), uint8_t{0});
      std::shuffle(places.begin(), places.end(), random);
      places.resize(std::min<size_t>(2, places.size()));
      std::sort(places.begin(), places.end());
      indices.insert(indices.end(), places.begin(), places.end());
    }
  }
  return indices;
}

template <class T>
simt::host::Counters check(int64_t rows, int64_t cols, int64_t n, int32_t splits, const Options& options) {
  std::mt19937_64 random(static_cast<uint64_t>(rows * 131 + cols * 7 + n));
  const int64_t kept = cols / 4 * 2 + std::min<int64_t>(2, cols % 4), pitch = feature_major_pitch(n);
  const auto indices = random_indices(random, rows, cols);
  auto values = random_values<T>(random, rows * kept);
  for (int64_t i = 0; i < values.size(); i += 5) {
    values[i] = from_double<T>(-0.0);  // kept, negative and zero
  }
  const auto x = random_values<T>(random, cols * pitch);
  const auto pairs = pairs_of({rows, cols, kept, indices.data()});
  Array<T> packed(static_cast<int64_t>(pairs.order.size())), y(n * rows);
  Array<uint8_t> headers(static_cast<int64_t>(pairs.headers.size()));
  Array<float> partial(partial_sums(rows, n, splits));
  std::copy(pairs.headers.begin(), pairs.headers.end(), headers.data());
  GlobalMemory memory;
  memory.add("headers", headers.data(), headers.bytes(), Access::kRead);
  memory.add("order", pairs.order.data(), pairs.order.size() * 4, Access::kRead);
  memory.add("values", values.data(), values.bytes(), Access::kRead);
  memory.add("packed", packed.data(), packed.bytes(), Access::kReadWrite);
  memory.add("x", x.data(), x.bytes(), Access::kRead);
  memory.add("partial", partial.data(), partial.bytes(), Access::kReadWrite);
  memory.add("y", y.data(), y.bytes(), Access::kWriteAll);
  Launcher launcher(memory, options);
  launch_kernel<PackTiles<T>>(launcher, {values.data(), pairs.order.data(), packed.data(), packed.size()});
  launch_tiles<T, PairGroups>(launcher, {headers.data(),
                                         nullptr,
                                         packed.data(),
                                         rows,
                                         cols,
                                         x.data(),
                                         pitch,
                                         y.data(),
                                         n,
                                         rows % 8 == 0,
                                         {},
                                         splits,
                                         partial.data()});
  EXPECT_EQ(launcher.problems(), "") << rows << "x" << cols << " n " << n;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double expected = 0, size = 0;
      for (int64_t k = 0; k < kept; ++k) {
        const int64_t column = k / 2 * 4 + indices[static_cast<size_t>(i * kept + k)];
        const double term = static_cast<double>(simt::widen(values[i * kept + k])) * simt::widen(x[column * pitch + j]);
        expected += term;
        size += std::abs(term);
      }
      EXPECT_NEAR(simt::widen(y[j * rows + i]), expected, tolerance<T>(expected, size, false))
          << rows << "x" << cols << " row " << i;
    }
  }
  return launcher.report.counters;
}

template <class T>
void sweep() {
  size_t turn = 0;
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{0, 8},
                                   {8, 0},
                                   {1, 1},
                                   {1, 2},
                                   {3, 5},
                                   {16, 64},
                                   {17, 67},
                                   {33, 127},
                                   {70, 200},
                                   {16, 600}}) {
    for (const int64_t n : {0, 1, 7, 8, 9, 16, 24, 33, 64, 100}) {
      for (const int32_t splits : {1, 2}) {
        if (turn++ % thinning() == 0) {
          for (const auto& options : schedules(turn)) {
            check<T>(rows, cols, n, splits, options);
            ASSERT_FALSE(testing::Test::HasFailure());
          }
        }
      }
    }
  }
}

TEST(Pairs, Half) { sweep<simt::Half>(); }
TEST(Pairs, BFloat16) { sweep<simt::BFloat16>(); }

TEST(Pairs, ReadHalfAndMultiplyHalf) {
  Options options;
  options.collect_requests = true;
  for (const int64_t n : {8, 64}) {
    const auto counters = check<simt::Half>(64, 512, n, 1, options);
    EXPECT_EQ(counters.bytes_read.at("packed"), 64u * 512);  // half of the values, two bytes each
    EXPECT_EQ(counters.bytes_read.at("headers"), 64u * 512 / 8);
    EXPECT_EQ(counters.sectors_read.at("packed"), counters.sectors_needed.at("packed"));
    EXPECT_EQ(counters.conflicts.at("ldmatrix"), 0u);
    EXPECT_EQ(counters.conflicts.at("cp.async"), 0u);
    EXPECT_EQ(counters.mma, 0u);
    EXPECT_EQ(counters.mma_sparse, 64u / 16 * (512 / 32) * static_cast<uint64_t>(n) / 8);
  }
}

}  // namespace
}  // namespace jouleprune::cuda::csr
