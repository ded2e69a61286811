#include <sstream>

#include "kernels/csr/linear_code.h"
#include "kernels/jit/executable_memory.h"
#include "products.h"

namespace jouleprune::kernels::csr::testing {
namespace {

template <class T>
class LinearCsr : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double, BFloat16, Half>;
TYPED_TEST_SUITE(LinearCsr, ElementTypes);

struct Case {
  int64_t n, rows, cols;
  double density;
  int64_t gap = 0;  ///< unused elements between the batch rows of the dense arguments
  bool bias = true;
  Activation activation = Activation::kNone;

  std::string name() const {
    std::ostringstream out;
    out << "n " << n << " rows " << rows << " cols " << cols << " density " << density;
    return out.str();
  }
};

/// Odd sizes first.
std::vector<Case> fixed_cases() {
  return {{0, 3, 4, 0.5},     {1, 0, 4, 0.5},      {1, 3, 0, 0.5},   {9, 3, 0, 0.5},       {9, 0, 3, 0.5},
          {1, 1, 1, 1},       {8, 1, 1, 1},        {5, 7, 11, 0},    {19, 7, 11, 0},       {1, 5, 1, 0.5},
          {33, 5, 1, 0.5},    {7, 17, 33, 1},      {8, 17, 33, 1},   {15, 16, 16, 0.3, 5}, {16, 16, 16, 0.3, 1},
          {17, 15, 17, 0.3},  {63, 31, 65, 0.2},   {64, 64, 64, 0.1}, {65, 33, 129, 0.05}, {192, 70, 96, 0.1, 3, false},
          {3, 100, 300, 0.2}, {129, 130, 70, 0.3}, {300, 5, 7, 0.5},
          {200, 200, 300, 0.2}, {900, 9, 400, 0.1}};  // many blocks of rows; several waves of panels
}

template <class T, class Body>
void for_each_case(const Body& body) {
  std::mt19937 random(4);
  for (const auto& c : fixed_cases()) {
    body(c, random);
  }
  for (int i = 0; i < random_cases(520); ++i) {
    const double densities[] = {0, 0.02, 0.1, 0.3, 0.9};
    body(Case{static_cast<int64_t>(random() % (i % 4 == 0 ? 100 : 20)), static_cast<int64_t>(random() % 40),
              static_cast<int64_t>(random() % 60), densities[random() % 5], static_cast<int64_t>(random() % 3), random() % 2 == 0,
              random_activation(random)},
         random);
  }
}

TYPED_TEST(LinearCsr, ForwardMatches) {
  using T = TypeParam;
  for_each_case<T>([](const Case& c, std::mt19937& random) {
    const auto structure = random_structure(c.rows, c.cols, c.density, random);
    const auto csr = structure.view();
    const int64_t stride = c.cols + c.gap;
    const auto values = random_vector<T>(csr.nnz, random), input = random_vector<T>(c.n * stride, random);
    const auto bias = random_vector<T>(c.rows, random);
    std::vector<Triple> triples;
    std::vector<double> start;
    for (int64_t j = 0; j < c.n; ++j) {
      for (int64_t r = 0; r < c.rows; ++r) {
        start.push_back(c.bias ? widen(bias[r]) : 0);
        for (int64_t k = csr.row_offsets[r]; k < csr.row_offsets[r + 1]; ++k) {
          triples.push_back({j * c.rows + r, k, j * stride + csr.col_indices[k]});
        }
      }
    }
    const auto expected = expect_products<T>(c.n * c.rows, triples, values, input, start, c.activation);
    for (const bool generated_code : {true, false}) {
      expect_on_every_isa(expected, c.name() + (generated_code ? "" : " without code"), [&](Isa isa, const ParallelFor& parallel) {
        auto output = unwritten<T>(c.n * c.rows);
        linear<T>({csr, values.data(), c.bias ? bias.data() : nullptr, c.activation, c.n, input.data(), stride, output.data(), nullptr,
                   generated_code},
                  parallel, isa);
        return output;
      });
    }
  });
}

TYPED_TEST(LinearCsr, GradientOfTheInputMatches) {
  using T = TypeParam;
  for_each_case<T>([](const Case& c, std::mt19937& random) {
    const auto structure = random_structure(c.rows, c.cols, c.density, random);
    const auto csr = structure.view();
    const int64_t stride = c.rows + c.gap;
    const auto values = random_vector<T>(csr.nnz, random), grad = random_vector<T>(c.n * stride, random);
    std::vector<Triple> triples;
    for (int64_t j = 0; j < c.n; ++j) {
      for (int64_t r = 0; r < c.rows; ++r) {
        for (int64_t k = csr.row_offsets[r]; k < csr.row_offsets[r + 1]; ++k) {
          triples.push_back({j * c.cols + csr.col_indices[k], k, j * stride + r});
        }
      }
    }
    const auto expected = expect_products<T>(c.n * c.cols, triples, values, grad, {});
    expect_on_every_isa(expected, c.name(), [&](Isa isa, const ParallelFor& parallel) {
      auto output = unwritten<T>(c.n * c.cols);
      linear_backward_input<T>({csr, values.data(), nullptr, Activation::kNone, c.n, grad.data(), stride, output.data()}, parallel,
                               isa);
      return output;
    });
  });
}

TYPED_TEST(LinearCsr, GradientOfTheValuesMatches) {
  using T = TypeParam;
  for_each_case<T>([](const Case& c, std::mt19937& random) {
    const auto structure = random_structure(c.rows, c.cols, c.density, random);
    const auto csr = structure.view();
    const int64_t grad_stride = c.rows + c.gap, input_stride = c.cols + 2 * c.gap;
    const auto grad = random_vector<T>(c.n * grad_stride, random), input = random_vector<T>(c.n * input_stride, random);
    std::vector<Triple> triples;
    for (int64_t r = 0; r < c.rows; ++r) {
      for (int64_t k = csr.row_offsets[r]; k < csr.row_offsets[r + 1]; ++k) {
        for (int64_t j = 0; j < c.n; ++j) {
          triples.push_back({k, j * grad_stride + r, j * input_stride + csr.col_indices[k]});
        }
      }
    }
    const auto expected = expect_products<T>(csr.nnz, triples, grad, input, {});
    expect_on_every_isa(expected, c.name(), [&](Isa isa, const ParallelFor& parallel) {
      auto output = unwritten<T>(csr.nnz);
      linear_backward_values<T>({csr, c.n, grad.data(), grad_stride, input.data(), input_stride, output.data()}, parallel, isa);
      return output;
    });
  });
}

TYPED_TEST(LinearCsr, NanAndInfinityGoThrough) {
  using T = TypeParam;
  using A = Accumulate<T>;
  const Structure structure{2, 5, {0, 2}, {0, 1, 2}};
  const auto number = [](double x) { return narrow<T>(static_cast<A>(x)); };
  const std::vector<T> values = {number(1), number(1)};
  for (const int64_t n : {1, 9}) {
    std::vector<T> input;
    for (int64_t j = 0; j < n; ++j) {  // the last column is removed in both rows: its NaN must not reach the result
      input.insert(input.end(), {number(NAN), number(1), number(INFINITY), number(1), number(NAN)});
    }
    for (const Isa isa : supported_isas()) {
      auto output = unwritten<T>(n * 2);
      linear<T>({structure.view(), values.data(), nullptr, Activation::kRelu, n, input.data(), 5, output.data()}, serial, isa);
      for (int64_t j = 0; j < n; ++j) {
        EXPECT_TRUE(std::isnan(widen(output[2 * j]))) << isa_name(isa) << ": relu(NaN) is NaN";
        EXPECT_EQ(widen(output[2 * j + 1]), std::numeric_limits<A>::infinity()) << isa_name(isa);
      }
    }
  }
}

TEST(LinearCsrPairs, MatchAndMultiplyNeighboursAsZeros) {
  if (!jit::available() || !bfloat16_pairs_supported()) GTEST_SKIP() << "this processor has no avx512_bf16, or no code may be generated";
  std::mt19937 random(8);
  for (const auto& c : fixed_cases()) {
    if (c.n == 0) continue;
    const auto structure = random_structure(c.rows, c.cols, c.density, random);
    const auto csr = structure.view();
    const int64_t stride = c.cols + c.gap;
    const auto values = random_vector<BFloat16>(csr.nnz, random), input = random_vector<BFloat16>(c.n * stride, random);
    const auto bias = random_vector<BFloat16>(c.rows, random);
    std::vector<Triple> triples;
    std::vector<double> start;
    for (int64_t j = 0; j < c.n; ++j) {
      for (int64_t r = 0; r < c.rows; ++r) {
        start.push_back(widen(bias[r]));
        for (int64_t k = csr.row_offsets[r]; k < csr.row_offsets[r + 1]; ++k) {
          triples.push_back({j * c.rows + r, k, j * stride + csr.col_indices[k]});
        }
      }
    }
    const auto expected = expect_products<BFloat16>(c.n * c.rows, triples, values, input, start, Activation::kNone);
    for (const auto order : {CodeOrder::kPanelOuter, CodeOrder::kGroupOuter}) {
      for (const int64_t column_block : {0, 16}) {
        auto output = unwritten<BFloat16>(c.n * c.rows);
        linear_code<BFloat16>({csr, values.data(), bias.data(), Activation::kNone, c.n, input.data(), stride, output.data()},
                              {order, column_block, true}, threads(2), Isa::kAvx512);
        expect_near(expected, output, c.name() + " in pairs");
      }
    }
  }
  const Structure one{1, 2, {0}, {0, 1}};  // column 1 is removed, but shares the pair of column 0
  const std::vector<BFloat16> value = {narrow<BFloat16>(1.0f)}, input = {narrow<BFloat16>(1.0f), narrow<BFloat16>(INFINITY)};
  auto output = unwritten<BFloat16>(1);
  output[0] = narrow<BFloat16>(0.0f);
  linear_code<BFloat16>({one.view(), value.data(), nullptr, Activation::kNone, 1, input.data(), 2, output.data()},
                        {CodeOrder::kPanelOuter, 0, true}, serial, Isa::kAvx512);
  EXPECT_TRUE(std::isnan(widen(output[0])));
}

}  // namespace
}  // namespace jouleprune::kernels::csr::testing
