#include "kernels/denormals.h"

#include "products.h"

namespace jouleprune::kernels::csr::testing {
namespace {

TEST(Denormals, FlushedKeepsEverythingElse) {
  constexpr float kTiny = std::numeric_limits<float>::denorm_min(), kMin = std::numeric_limits<float>::min();
  EXPECT_EQ(flushed(kTiny), 0.0f);
  EXPECT_EQ(flushed(-kTiny * 1000), 0.0f);
  EXPECT_EQ(flushed(kMin), kMin);
  EXPECT_EQ(flushed(-kMin), -kMin);
  EXPECT_TRUE(std::isnan(flushed(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_EQ(flushed(std::numeric_limits<double>::denorm_min()), 0.0);
}

/// The product of two numbers, far enough from constant folding.
template <class A>
A product(A a, A b) {
  volatile A hidden = a;
  return hidden * b;
}

TEST(Denormals, ModeIsPutBack) {
  constexpr float kMin = std::numeric_limits<float>::min();
  {
    const FlushDenormals flush;
#if defined(__SSE2__) || defined(__aarch64__)
    EXPECT_EQ(product(kMin, 0.5f), 0.0f);
#endif
  }
  EXPECT_EQ(product(kMin, 0.5f), kMin / 2);
}

/// y = w x with one denormal number among weights or activations, or a denormal result.
TEST(Denormals, CountAsZeroInWeightsActivationsAndResults) {
  constexpr float kMin = std::numeric_limits<float>::min(), kTiny = kMin / 4;
  const Structure structure{3, 3, {0, 1, 2}, {0, 1, 2, 3}};
  const std::vector<float> values = {kTiny, 0x1p100f, 0.5f};
  for (const int64_t n : {1, 9, 70}) {
    std::vector<float> input;
    for (int64_t j = 0; j < n; ++j) {
      input.insert(input.end(), {0x1p100f, kTiny, kMin});
    }
    for (const Isa isa : vector_isas()) {
      for (const auto& parallel : {ParallelFor(serial), threads(2)}) {
        auto output = unwritten<float>(n * 3);
        linear<float>({structure.view(), values.data(), nullptr, Activation::kNone, n, input.data(), 3, output.data()}, parallel,
                      isa);
#if defined(__SSE2__) || defined(__aarch64__)
        for (const float y : output) {
          ASSERT_EQ(y, 0.0f) << isa_name(isa) << " n " << n;
        }
#endif
        ASSERT_EQ(product(kMin, 0.5f), kMin / 2) << "the mode of the calling thread";
      }
    }
  }
}

}  // namespace
}  // namespace jouleprune::kernels::csr::testing
