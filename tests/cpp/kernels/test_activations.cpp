// The vectorised activation functions, alone: over the whole range of float32, against long double.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/csr/vector_kernels.h"
#include "products.h"

namespace jouleprune::kernels::csr::testing {
namespace {

template <class A>
std::vector<A> apply(Isa isa, Activation activation, std::vector<A> x) {
  const auto& kernels = vector_kernels<A>(isa);
  const size_t size = x.size();
  x.resize((size + 15) / 16 * 16);
  kernels.activate(activation, x.data(), static_cast<int64_t>(x.size()));
  x.resize(size);
  return x;
}

/// Every 2^12-th float32, and all magnitudes around where the functions bend.
std::vector<float> many_floats() {
  std::vector<float> x;
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 1 << 12) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(bits));
    if (std::isfinite(value)) {
      x.push_back(value);
    }
  }
  for (int i = -200'000; i <= 200'000; ++i) {
    x.push_back(static_cast<float>(i) * 1e-4f);
  }
  return x;
}

TEST(Activations, FloatIsWithinAFewRoundings) {
  const auto x = many_floats();
  for (const Isa isa : vector_isas()) {
    for (const Activation activation : {Activation::kRelu, Activation::kGelu, Activation::kSilu}) {
      const auto got = apply(isa, activation, x);
      double worst = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const long double exact = activated<long double>(x[i], activation);
        const long double error = std::abs(got[i] - exact);
        // Relative to the result, down to where the exponential is no normal number any more (x = -13.2; silu: -87).
        ASSERT_LE(error, 6e-7L * std::abs(exact) + 1.1e-36L)
            << isa_name(isa) << " activation " << static_cast<int>(activation) << " of " << x[i] << ": " << got[i] << ", expected "
            << static_cast<double>(exact);
        worst = std::max(worst, static_cast<double>(error / (std::abs(exact) + 1e-29L)));
      }
      RecordProperty(isa_name(isa) + std::to_string(static_cast<int>(activation)), std::to_string(worst * 1e7) + "e-7");
    }
  }
}

TEST(Activations, DoubleIsLibms) {
  std::vector<double> x;
  for (int i = -4000; i <= 4000; ++i) {
    x.push_back(i * 0.01);
  }
  for (const Isa isa : vector_isas()) {
    for (const Activation activation : {Activation::kRelu, Activation::kGelu, Activation::kSilu}) {
      const auto got = apply(isa, activation, x);
      for (size_t i = 0; i < x.size(); ++i) {
        const long double exact = activated<long double>(x[i], activation);
        // erfc's argument is rounded: a relative error of z^2 roundings in the tail.
        ASSERT_NEAR(got[i], static_cast<double>(exact), (4 + x[i] * x[i]) * 2.3e-16 * std::abs(static_cast<double>(exact)) + 1e-320)
            << isa_name(isa) << " activation " << static_cast<int>(activation) << " of " << x[i];
      }
    }
  }
}

template <class A>
class ActivationLimits : public ::testing::Test {};
using SumTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ActivationLimits, SumTypes);

TYPED_TEST(ActivationLimits, NanInfinityZero) {
  using A = TypeParam;
  const A infinity = std::numeric_limits<A>::infinity(), tiny = std::numeric_limits<A>::denorm_min();
  for (const Isa isa : vector_isas()) {
    for (const Activation activation : {Activation::kNone, Activation::kRelu, Activation::kGelu, Activation::kSilu}) {
      const auto got = apply<A>(isa, activation, {std::numeric_limits<A>::quiet_NaN(), infinity, -infinity, A{0}, tiny, -tiny});
      EXPECT_TRUE(std::isnan(got[0])) << isa_name(isa);
      EXPECT_EQ(got[1], infinity) << isa_name(isa);
      if (activation == Activation::kNone) {
        EXPECT_EQ(got[2], -infinity);
      } else if (activation == Activation::kRelu) {
        EXPECT_EQ(got[2], A{0});
      } else {
        EXPECT_TRUE(std::isnan(got[2]) || got[2] == 0) << isa_name(isa) << ": -infinity times 0, as torch has it";
      }
      EXPECT_EQ(got[3], A{0});
      EXPECT_LE(std::abs(got[4]), tiny);
      EXPECT_LE(std::abs(got[5]), tiny);
    }
  }
}

}  // namespace
}  // namespace jouleprune::kernels::csr::testing
