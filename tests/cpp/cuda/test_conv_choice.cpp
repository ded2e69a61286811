// Which kernel a convolution runs: pure functions of sizes and of a machine.
#include <gtest/gtest.h>

#include <cstdio>

#include "conv/choice.h"

namespace jouleprune::cuda::conv {
namespace {

const csr::Machine kA100 = csr::machine_of(8, 0, 108, 1.41e9, 1.9e12), kH100 = csr::machine_of(9, 0, 132, 1.7e9, 3.35e12),
                   kAda = csr::machine_of(8, 9, 128, 2.5e9, 1.0e12);

/// Kernel 3 x 3, as many channels out as in; 16 vectors or blocks of `rows` outputs, or layout csr (rows = 1).
ConvWork work(ElementType type, int64_t channels, int64_t size, int64_t images, double density, int32_t rows) {
  const int64_t cols = channels * 9, pixels = images * size * size, input = channels * pixels;
  return {type, channels, cols, static_cast<int64_t>(density * static_cast<double>(channels * cols)), pixels, input,
          images * channels * (size + 2) * (size + 2), 3 * images * channels * size * ((size + 7) / 8 * 8), rows, true};
}

TEST(ConvChoice, EntriesRunOnlyWhenVerySparse) {
  for (const auto type : {ElementType::kFloat16, ElementType::kFloat32}) {
    EXPECT_FALSE(runs_sparse(ConvKernel::kEntries, work(type, 256, 14, 32, 0.5, 1), kA100));
    EXPECT_TRUE(runs_sparse(ConvKernel::kEntries, work(type, 256, 14, 32, 0.001, 1), kA100));
  }
  EXPECT_TRUE(runs_sparse(ConvKernel::kEntries, work(ElementType::kFloat64, 256, 14, 32, 0.1, 1), kA100));
}

TEST(ConvChoice, BlocksRunWhereTheSkippedProductsPayForThePlanes) {
  for (const auto& machine : {kA100, kH100, kAda}) {
    EXPECT_FALSE(runs_sparse(ConvKernel::kBlocks, work(ElementType::kFloat16, 256, 28, 32, 1.0, 64), machine));
    EXPECT_TRUE(runs_sparse(ConvKernel::kBlocks, work(ElementType::kFloat16, 512, 28, 32, 0.1, 64), machine));
    // One small image: blocks of threads for a few multiprocessors alone, and one launch more.
    EXPECT_FALSE(runs_sparse(ConvKernel::kBlocks, work(ElementType::kFloat16, 64, 7, 1, 0.5, 64), machine));
  }
  // By multiply-adds against dense TF32.
  EXPECT_FALSE(runs_sparse(ConvKernel::kBlocks, work(ElementType::kFloat32, 256, 28, 32, 0.3, 64), kA100));
}

TEST(ConvChoice, MoreOfEverythingTakesLonger) {
  const auto few = work(ElementType::kFloat16, 256, 28, 32, 0.1, 16), many = work(ElementType::kFloat16, 256, 28, 32, 0.5, 16);
  for (const auto kernel : {ConvKernel::kBlocks, ConvKernel::kEntries}) {
    EXPECT_LT(predicted_s(kernel, few, kA100), predicted_s(kernel, many, kA100));
  }
  auto other = few;
  other.tensor_cores = false;
  EXPECT_LT(predicted_s(ConvKernel::kBlocks, few, kA100), predicted_s(ConvKernel::kBlocks, other, kA100));
  other = few;
  other.planes = 0;
  EXPECT_LT(predicted_s(ConvKernel::kBlocks, other, kA100), predicted_s(ConvKernel::kBlocks, few, kA100));
}

// The table of docs/kernels_cuda.md.
TEST(ConvChoice, PrintsPredictions) {
  for (const auto& [channels, size] : {std::pair<int64_t, int64_t>{64, 56}, {128, 28}, {256, 14}, {512, 7}}) {
    for (const double density : {0.5, 0.25, 0.1}) {
      std::printf("| %d x %d x %d | %.0f %% |", static_cast<int>(channels), static_cast<int>(size), static_cast<int>(size),
                  100 * (1 - density));
      for (const auto& machine : {kA100, kH100, kAda}) {
        const auto us = [&](ConvKernel kernel, int32_t rows) {
          const double s = predicted_s(kernel, work(ElementType::kFloat16, channels, size, 32, density, rows), machine);
          EXPECT_LT(s, 1);
          return 1e6 * s;
        };
        std::printf(" %.1f | %.1f | %.1f | %.1f |", us(ConvKernel::kDense, 64), us(ConvKernel::kBlocks, 16),
                    us(ConvKernel::kBlocks, 64), us(ConvKernel::kEntries, 1));
      }
      std::printf("\n");
    }
  }
}

}  // namespace
}  // namespace jouleprune::cuda::conv
