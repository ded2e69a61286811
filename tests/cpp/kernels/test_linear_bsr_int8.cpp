// int8 products are exact up to a few float operations in a stated order, so kernels are compared with the reference to the bit;
// the reference itself with sums in double.
#include "bsr_int8_cases.h"
#include "kernels/bsr_int8/quantise.h"
#include "kernels/bsr_int8/small_form.h"

namespace jouleprune::kernels::bsr_int8::testing {
namespace {

using csr::testing::threads;

template <class T>
class LinearBsrInt8 : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, BFloat16, Half>;
TYPED_TEST_SUITE(LinearBsrInt8, ElementTypes);

template <class T>
void expect_equal_everywhere(Problem<T>& problem, const std::string& what) {
  const auto expected = problem.run(Isa::kReference);
  for (const Isa isa : supported_isas()) {
    for (const bool plain : {false, true}) {
      problem.params.with_code = problem.params.small_kernels = !plain;
      problem.params.tiles = false;  // test_int8_tiles.cpp
      for (int count = 1; count <= 3; ++count) {
        ASSERT_TRUE(same_bits(problem.run(isa, threads(count)), expected))
            << what << " on " << isa_name(isa) << (plain ? " without code" : "") << " with " << count << " threads";
      }
    }
  }
}

TYPED_TEST(LinearBsrInt8, ReferenceMatchesSumsInDouble) {
  using T = TypeParam;
  for_each_case(100, [](const Case& c, std::mt19937& random) {
    Problem<T> problem(c, random);
    const auto got = problem.run(Isa::kReference);
    const auto csr = problem.structure.view();
    for (int64_t j = 0; j < c.n; ++j) {
      const T* x = problem.input.data() + j * problem.params.input_stride;
      double largest = 0;
      for (int64_t i = 0; i < c.in_features; ++i) {
        largest = std::max(largest, std::abs(static_cast<double>(widen(x[i]))));
      }
      const double step = c.input_scale > 0 ? static_cast<double>(c.input_scale) : largest > 0 ? largest / 127 : 1;
      for (int64_t r = 0; r < c.rows; ++r) {
        // Rounding the inputs moves each by at most half a step (and a value between two steps may go either way in float).
        double exact = c.bias ? problem.bias[r] : 0, slack = 0;
        for (int64_t k = csr.row_offsets[r]; k < csr.row_offsets[r + 1]; ++k) {
          for (int64_t i = 0; i < kQuad; ++i) {
            const int64_t at = csr.col_indices[k] * kQuad + i;
            const double weight = problem.blocks[k * kQuad + i] * static_cast<double>(problem.scales[r]);
            if (at < c.in_features) {
              exact += weight * std::clamp(static_cast<double>(widen(x[at])), -127 * step, 127 * step);
              slack += std::abs(weight) * 0.5001 * step;
            }
          }
        }
        exact = c.relu && exact < 0 ? 0 : exact;
        const double rounding = csr::testing::kRounding<T> * (std::abs(exact) + slack) + 1e-6;
        ASSERT_NEAR(static_cast<double>(widen(got[j * c.rows + r])), exact, slack + rounding) << c.name() << " row " << r;
      }
    }
  });
}

TYPED_TEST(LinearBsrInt8, EveryKernelGivesTheBitsOfTheReference) {
  for_each_case(400, [](const Case& c, std::mt19937& random) {
    Problem<TypeParam> problem(c, random);
    expect_equal_everywhere(problem, c.name());
  });
}

TYPED_TEST(LinearBsrInt8, SmallBatches) {
  std::mt19937 random(5);
  const double densities[] = {0.9, 0.3, 0.1, 0.004, 0.0005};
  for (int i = 0; i < 60; ++i) {
    const Case c{1 + i % 8, static_cast<int64_t>(1 + random() % 90), static_cast<int64_t>(random() % 2200), densities[i % 5],
                 0, i % 2 == 0, i % 3 == 0, i % 7 == 0 ? 0.01f : 0};
    Problem<TypeParam> problem(c, random);
    expect_equal_everywhere(problem, c.name());
  }
}

TYPED_TEST(LinearBsrInt8, LargestSumsDoNotOverflow) {
  std::mt19937 random(1);
  Problem<TypeParam> problem({18, 2, kMaxInFeatures, 1}, random);
  std::fill(problem.blocks.begin(), problem.blocks.end(), static_cast<int8_t>(-128));
  std::fill(problem.input.begin(), problem.input.end(), narrow<TypeParam>(-1.0f));
  expect_equal_everywhere(problem, "largest sums");
}

TYPED_TEST(LinearBsrInt8, RowsOfZerosTinyAndHugeNumbers) {
  using T = TypeParam;
  for (const float scale : {0.0f, 0.25f}) {
    std::mt19937 random(2);
    Problem<T> problem({40, 20, 70, 0.6, 0, true, false, scale}, random);
    const float factors[] = {0, -0.0f, 1e-44f, 1e-38f, 1e-30f, 1, 1e30f, 3e38f};
    for (size_t i = 0; i < problem.input.size(); ++i) {
      problem.input[i] = narrow<T>(widen(problem.input[i]) * factors[i / 70 % 8]);
      if (std::isinf(widen(problem.input[i]))) problem.input[i] = narrow<T>(1.0f);
    }
    expect_equal_everywhere(problem, "magnitudes");
    const auto output = problem.run(active_isa());
    for (int64_t r = 0; r < 20; ++r) {
      EXPECT_EQ(widen(output[r]), widen(narrow<T>(problem.bias[r]))) << "a row of zeros gives the bias";
    }
  }
}

TYPED_TEST(LinearBsrInt8, NanMakesItsRowNan) {
  using T = TypeParam;
  for (const float scale : {0.0f, 0.25f}) {
    std::mt19937 random(3);
    Problem<T> problem({40, 20, 70, 0.6, 0, true, true, scale}, random);
    problem.input[5 * 70 + 69] = narrow<T>(std::numeric_limits<float>::quiet_NaN());
    problem.input[21 * 70 + 1] = narrow<T>(-std::numeric_limits<float>::infinity());
    for (const Isa isa : supported_isas()) {
      for (const bool plain : {false, true}) {
        problem.params.with_code = problem.params.small_kernels = !plain;
        problem.params.tiles = false;
        const auto output = problem.run(isa), expected = problem.run(Isa::kReference);
        for (int64_t i = 0; i < static_cast<int64_t>(output.size()); ++i) {
          const bool lost = i / 20 == 5 || (i / 20 == 21 && scale == 0);
          ASSERT_EQ(std::isnan(widen(output[i])), lost) << isa_name(isa) << " row " << i / 20;
          ASSERT_TRUE(lost || widen(output[i]) == widen(expected[i])) << isa_name(isa) << " row " << i / 20;
        }
      }
    }
  }
}

TEST(SmallBatchInt8, EachOrderServesSomeDensity) {  // 4096 x 4096 at 50, 90 and 99 % of the quads
  EXPECT_EQ(choose_small_order({4096, 1024, 2'097'152, 168'000}), SmallOrder::kBitmap);
  EXPECT_EQ(choose_small_order({4096, 1024, 419'430, 57'000}), SmallOrder::kSell);
  EXPECT_EQ(choose_small_order({4096, 1024, 41'943, 17'000}), SmallOrder::kCsr);
}

TEST(SmallBatchInt8, CountsTheStepsOfTheFullestRows) {
  // Quads of the first 32: 2 of row 0, 3 of row 17; of the next 32: 1 of row 17. Steps of a group come in fours.
  std::vector<int32_t> offsets(19, 2);
  offsets[0] = 0, offsets[18] = 6;
  const std::vector<int32_t> columns = {0, 31, 1, 5, 9, 40};
  const SmallCounts counts = count_small({18, 70, 6, columns.data(), offsets.data()});
  EXPECT_EQ(counts.sell_steps, 4 + 4);
}

TEST(QuantiseInt8, RoundsTiesToEvenAndClamps) {
  EXPECT_EQ(quantise(0.5f, 1), 0);
  EXPECT_EQ(quantise(1.5f, 1), 2);
  EXPECT_EQ(quantise(-2.5f, 1), -2);
  EXPECT_EQ(quantise(1e30f, 1), 127);
  EXPECT_EQ(quantise(-1e30f, 1), -127);
  EXPECT_EQ(row_scale(0, 0).scale, 1);
  EXPECT_EQ(row_scale(magnitude_bits(-127.0f), 0).scale, 1);
  EXPECT_TRUE(std::isnan(row_scale(magnitude_bits(INFINITY), 0).scale));
  EXPECT_EQ(row_scale(magnitude_bits(INFINITY), 0.5f).scale, 0.5f);
  EXPECT_TRUE(std::isfinite(row_scale(1, 0).inverse));
}

}  // namespace
}  // namespace jouleprune::kernels::bsr_int8::testing
