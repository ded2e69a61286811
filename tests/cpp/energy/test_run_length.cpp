#include "energy/run_length.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace jouleprune::energy {
namespace {

/// Codes a mask: a pair per kept value, and one per run of 2^run_bits zeros. Zeros at the end need no pair.
double coded_bits(const std::vector<bool>& mask, int value_bits, int run_bits) {
  int64_t pairs = 0, zeros = 0, pending = 0;
  for (const bool kept : mask) {
    if (!kept && ++zeros == (1 << run_bits)) {
      ++pending;
      zeros = 0;
    }
    if (kept) {
      pairs += pending + 1;
      pending = zeros = 0;
    }
  }
  return static_cast<double>(pairs * (value_bits + run_bits));
}

TEST(RunLength, AgreesWithCodedRandomMasks) {
  std::mt19937 random(11);
  for (const double density : {0.01, 0.03, 0.1, 0.3, 0.6}) {
    const size_t size = 400000;
    std::vector<bool> mask(size);
    double kept = 0;
    for (size_t i = 0; i < size; ++i) kept += mask[i] = std::bernoulli_distribution(density)(random);
    const double bits = coded_bits(mask, 16, 5);
    EXPECT_NEAR(run_length_bits(size, kept, 16, 5).total(), bits, 0.03 * bits) << density;
  }
}

TEST(RunLength, DenseWhenThatIsSmaller) {
  const StreamBits bits = run_length_bits(1000, 900, 16, 5);
  EXPECT_EQ(bits.values, 16000);
  EXPECT_EQ(bits.metadata, 0);
  EXPECT_EQ(run_length_bits(1000, 0, 16, 5).total(), 0);
  EXPECT_EQ(run_length_bits(0, 0, 16, 5).total(), 0);
}

TEST(RunLength, NeverFallsAsWeightsComeBack) {
  for (const double elements : {1.0, 7.0, 1000.0, 4097.0}) {
    double before = -1;
    for (double kept = 0; kept <= elements; ++kept) {
      const double bits = run_length_bits(elements, kept, 8, 4).total();
      ASSERT_GE(bits, before) << elements << " " << kept;
      before = bits;
    }
  }
}

TEST(RunLength, NeverFallsInHugeTensors) {
  const double elements = 1e10;
  for (double kept = 1; kept < 2e9; kept *= 1.7) {
    EXPECT_LE(run_length_bits(elements, kept, 16, 5).total(), run_length_bits(elements, kept + 1, 16, 5).total())
        << kept;
  }
}

}  // namespace
}  // namespace jouleprune::energy
