#include <algorithm>
#include <iterator>
#include <sstream>
#include <utility>

#include "bsr_cases.h"

namespace jouleprune::kernels::bsr::testing {
namespace {

using namespace csr::testing;

template <class T>
class LinearBsr : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double, BFloat16, Half>;
TYPED_TEST_SUITE(LinearBsr, ElementTypes);

/// Odd sizes first.
std::vector<Case> fixed_cases() {
  return {{0, 3, 4, 16, 1, 0.5},   {1, 0, 4, 16, 1, 0.5},    {1, 3, 0, 16, 1, 0.5},    {9, 3, 0, 2, 2, 0.5},
          {9, 0, 3, 16, 16, 0.5},  {1, 1, 1, 1, 1, 1},       {8, 1, 1, 16, 1, 1},      {5, 7, 11, 16, 1, 0},
          {19, 7, 11, 4, 4, 0},    {1, 17, 33, 16, 1, 1},    {3, 17, 33, 16, 1, 1, 2}, {2, 40, 31, 32, 1, 0.5},
          {7, 17, 33, 32, 32, 1},  {25, 33, 47, 16, 16, 1},  {24, 48, 64, 16, 16, 0.5}, {47, 100, 99, 32, 32, 0.6, 1},
          {23, 31, 19, 32, 2, 0.5}, {70, 65, 40, 8, 8, 0.5},  {41, 19, 70, 1, 16, 0.5},  {33, 30, 50, 4, 1, 0.3},
          {24, 29, 51, 1, 4, 0.3}, {50, 130, 70, 64, 3, 0.5}, {26, 50, 5, 16, 7, 0.8},  {300, 64, 64, 16, 1, 0.1},
          {192, 200, 300, 16, 1, 0.2, 3, false}, {900, 40, 400, 16, 1, 0.1}, {100, 300, 500, 32, 32, 0.3}};
}

template <class T, class Body>
void for_each_case(const Body& body) {
  std::mt19937 random(5);
  for (const auto& c : fixed_cases()) {
    body(c, random);
  }
  const int64_t sides[] = {1, 2, 3, 4, 8, 16, 32};
  const double densities[] = {0, 0.05, 0.3, 0.9};
  for (int i = 0; i < random_cases(200); ++i) {
    const auto size = [&](int64_t limit) { return static_cast<int64_t>(random() % static_cast<uint64_t>(limit)); };
    body(Case{size(i % 4 == 0 ? 100 : 30), size(70), size(70), i % 2 == 0 ? 16 : sides[size(7)], sides[size(7)],
              densities[size(4)], size(3), size(2) == 0, static_cast<Activation>(size(4))},
         random);
  }
}

TYPED_TEST(LinearBsr, ForwardMatches) {
  using T = TypeParam;
  for_each_case<T>([](const Case& c, std::mt19937& random) {
    const auto blocks = random_blocks(c, random);
    const auto bsr = blocks.view();
    const int64_t stride = c.cols + c.gap;
    const auto values = random_values<T>(bsr, random), input = random_vector<T>(c.n * stride, random);
    const auto bias = random_vector<T>(c.rows, random);
    const auto expected = expect_linear<T>(c, bsr, values, input, bias);
    for (const auto& [code, pairs] : {std::pair{true, true}, {true, false}, {false, false}}) {
      const std::string what = c.name() + (code ? "" : " without code") + (pairs ? "" : " without pairs");
      expect_on_every_isa(expected, what, [&, code = code, pairs = pairs](Isa isa, const ParallelFor& parallel) {
        auto output = unwritten<T>(c.n * c.rows);
        linear<T>({bsr, values.data(), c.bias ? bias.data() : nullptr, c.activation, c.n, input.data(), stride, output.data(), nullptr,
                   code, pairs},
                  parallel, isa);
        return output;
      });
    }
  });
}

TYPED_TEST(LinearBsr, GradientOfTheInputMatches) {
  using T = TypeParam;
  for_each_case<T>([](const Case& c, std::mt19937& random) {
    const auto blocks = random_blocks(c, random);
    const auto bsr = blocks.view();
    const int64_t stride = c.rows + c.gap;
    const auto values = random_values<T>(bsr, random), grad = random_vector<T>(c.n * stride, random);
    std::vector<Triple> triples;
    for (int64_t j = 0; j < c.n; ++j) {
      formats::for_each_entry(bsr, [&](int64_t entry, int64_t row, int64_t col) {
        triples.push_back({j * c.cols + col, entry, j * stride + row});
      });
    }
    const auto expected = expect_products<T>(c.n * c.cols, triples, values, grad, {}, Activation::kNone);
    expect_on_every_isa(expected, c.name(), [&](Isa isa, const ParallelFor& parallel) {
      auto output = unwritten<T>(c.n * c.cols);
      linear_backward_input<T>({bsr, values.data(), nullptr, Activation::kNone, c.n, grad.data(), stride, output.data()}, parallel, isa);
      return output;
    });
  });
}

TYPED_TEST(LinearBsr, GradientOfTheBlocksMatches) {
  using T = TypeParam;
  for_each_case<T>([](const Case& c, std::mt19937& random) {
    const auto blocks = random_blocks(c, random);
    const auto bsr = blocks.view();
    const int64_t grad_stride = c.rows + c.gap, input_stride = c.cols + 2 * c.gap;
    const auto grad = random_vector<T>(c.n * grad_stride, random), input = random_vector<T>(c.n * input_stride, random);
    std::vector<Triple> triples;
    formats::for_each_entry(bsr, [&](int64_t entry, int64_t row, int64_t col) {
      for (int64_t j = 0; j < c.n; ++j) {
        triples.push_back({entry, j * grad_stride + row, j * input_stride + col});
      }
    });
    const auto expected = expect_products<T>(bsr.blocks * bsr.r * bsr.c, triples, grad, input, {}, Activation::kNone);
    expect_on_every_isa(expected, c.name(), [&](Isa isa, const ParallelFor& parallel) {
      auto output = unwritten<T>(bsr.blocks * bsr.r * bsr.c);
      linear_backward_blocks<T>({bsr, c.n, grad.data(), grad_stride, input.data(), input_stride, output.data()}, parallel, isa);
      return output;
    });
  });
}

TYPED_TEST(LinearBsr, NanAndInfinityGoThrough) {
  using T = TypeParam;
  using A = Accumulate<T>;
  const auto number = [](double x) { return narrow<T>(static_cast<A>(x)); };
  for (const auto& [r, c] : {std::pair<int64_t, int64_t>{16, 1}, {16, 2}, {1, 2}, {2, 1}}) {
    // Of 6 columns the first two are kept; the others hold what must not reach the result.
    Blocks blocks{{r, 6, r, c}, {1, (6 + c - 1) / c, {}, {0}}};
    for (int32_t k = 0; k < 2 / c; ++k) {
      blocks.structure.col_indices.push_back(k);
    }
    blocks.structure.row_offsets.push_back(static_cast<int32_t>(2 / c));
    const std::vector<T> values(static_cast<size_t>(2 * r), number(1));
    for (const int64_t n : {1, 9, 30}) {
      for (const double special : {static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
        std::vector<T> input;
        for (int64_t j = 0; j < n; ++j) {
          for (const double x : {special, 1.0, 0.0 * INFINITY, 1.0 * INFINITY, 1.0, 0.0 * INFINITY}) {
            input.push_back(number(j % 2 == 0 ? x : 1.0));
          }
        }
        for (const Isa isa : supported_isas()) {
          auto output = unwritten<T>(n * r);
          linear<T>({blocks.view(), values.data(), nullptr, Activation::kRelu, n, input.data(), 6, output.data()}, serial, isa);
          for (int64_t j = 0; j < n; ++j) {
            for (int64_t i = 0; i < r; ++i) {
              const double got = widen(output[j * r + i]);
              if (j % 2 != 0) {
                EXPECT_EQ(got, 2) << isa_name(isa);
              } else if (std::isnan(special)) {
                EXPECT_TRUE(std::isnan(got)) << isa_name(isa) << ": relu(NaN) is NaN";
              } else {
                EXPECT_EQ(got, INFINITY) << isa_name(isa);
              }
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace jouleprune::kernels::bsr::testing
