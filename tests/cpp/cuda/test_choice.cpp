// Which kernel a csr product is given, by prediction: pure functions of shapes and machines.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "csr/choice.h"

namespace jouleprune::cuda::csr {
namespace {

// Clock, multiprocessors and memory as the vendor's data sheets have them.
const Machine kA100 = machine_of(8, 0, 108, 1.41e9, 2.0e12), kH100 = machine_of(9, 0, 132, 1.83e9, 3.35e12),
              kAda = machine_of(8, 9, 128, 2.52e9, 1.0e12);

Shape shape(ElementType type, double density, int64_t n, int64_t size = 4096) {
  return {type, size, size, static_cast<int64_t>(density * static_cast<double>(size * size)), n};
}

TEST(CsrChoice, RatesOfMachinesAreThoseOfTheDataSheets) {
  EXPECT_NEAR(kA100.tensor_flops, 312e12, 6e12);
  EXPECT_NEAR(kA100.fma_flops, 19.5e12, 0.5e12);
  EXPECT_NEAR(kAda.fma_flops, 82.6e12, 1e12);
  EXPECT_LT(kH100.tensor_flops, 989e12);  // mma.sync does not reach what wgmma does
}

TEST(CsrChoice, TilesForFewBatchRowsAndHalfOfTheWeights) {
  for (const auto& machine : {kA100, kH100, kAda}) {
    EXPECT_EQ(choose(shape(ElementType::kFloat16, 0.5, 1), machine), Kernel::kTiles);
    EXPECT_EQ(choose(shape(ElementType::kBFloat16, 0.5, 16), machine), Kernel::kTiles);
  }
}

TEST(CsrChoice, DenseForManyBatchRowsUnlessVerySparse) {
  for (const auto& machine : {kA100, kH100, kAda}) {
    EXPECT_EQ(choose(shape(ElementType::kFloat16, 0.5, 2048), machine), Kernel::kDense);
    EXPECT_EQ(choose(shape(ElementType::kFloat16, 0.1, 4096), machine), Kernel::kDense);
    EXPECT_NE(choose(shape(ElementType::kFloat32, 0.01, 1024), machine), Kernel::kDense);
  }
}

TEST(CsrChoice, NeverWhatIsPredictedSlowerThanDense) {
  for (const auto type : {ElementType::kFloat16, ElementType::kFloat32, ElementType::kFloat64}) {
    for (const double density : {1.0, 0.7, 0.3, 0.05, 0.002}) {
      for (const int64_t n : {1, 4, 8, 17, 64, 300, 5000}) {
        for (const int64_t size : {16, 256, 4096}) {
          const auto s = shape(type, density, n, size);
          EXPECT_LE(predicted_s(choose(s, kH100), s, kH100), predicted_s(Kernel::kDense, s, kH100));
        }
      }
    }
  }
}

TEST(CsrChoice, WhatAKernelMovesGrowsWithWhatIsKept) {
  for (const auto kernel : {Kernel::kByEntries, Kernel::kByTokens, Kernel::kTiles}) {
    EXPECT_LT(predicted_s(kernel, shape(ElementType::kFloat16, 0.1, 8), kA100),
              predicted_s(kernel, shape(ElementType::kFloat16, 0.5, 8), kA100));
  }
  EXPECT_TRUE(std::isinf(predicted_s(Kernel::kTiles, shape(ElementType::kFloat32, 0.5, 1), kA100)));
}

// The table of docs/kernels_cuda.md.
TEST(CsrChoice, PrintsPredictions) {
  const char* const names[] = {"by entries", "by tokens", "tiles", "dense"};
  std::printf("| zeros | n |");
  for (const char* machine : {"A100", "H100", "4090"}) {
    std::printf(" %s: dense | chosen | |", machine);
  }
  std::printf("\n");
  for (const double density : {0.5, 0.3, 0.1}) {
    for (const int64_t n : {1, 16, 64, 1024}) {
      std::printf("| %.0f %% | %d |", 100 * (1 - density), static_cast<int>(n));
      for (const auto& machine : {kA100, kH100, kAda}) {
        const auto s = shape(ElementType::kFloat16, density, n);
        const auto chosen = choose(s, machine);
        EXPECT_LT(predicted_s(chosen, s, machine), 1);
        std::printf(" %.1f | %s | %.1f |", 1e6 * predicted_s(Kernel::kDense, s, machine),
                    names[static_cast<int>(chosen)], 1e6 * predicted_s(chosen, s, machine));
      }
      std::printf("\n");
    }
  }
}

}  // namespace
}  // namespace jouleprune::cuda::csr
