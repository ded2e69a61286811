// The residual: what comes out is activation(result + residual), result as without it.
#include <array>
#include <sstream>

#include "products.h"

namespace jouleprune::kernels::csr::testing {
namespace {

constexpr std::array kActivations = {Activation::kNone, Activation::kRelu, Activation::kGelu, Activation::kSilu};

template <class T>
class Residuals : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double, BFloat16, Half>;
TYPED_TEST_SUITE(Residuals, ElementTypes);

/// Runs `call(residual, isa, parallel)`, which returns the output, without and with a residual.
template <class T, class Call>
void expect_added(int64_t size, std::mt19937& random, const std::string& what, const Call& call) {
  const auto added = random_vector<T>(size, random);
  for (const Isa isa : supported_isas()) {
    const auto result = call(Residual<T>{}, isa, serial);
    for (const Activation activation : kActivations) {
      for (const int count : {1, 3}) {
        const auto output = call(Residual<T>{added.data(), activation}, isa, threads(count));
        for (int64_t i = 0; i < size; ++i) {
          const auto sum = widen(result[i]) + widen(added[i]);
          const double expected = widen(narrow<T>(static_cast<Accumulate<T>>(activated<double>(sum, activation))));
          const bool exact = activation == Activation::kNone || activation == Activation::kRelu;
          const double tolerance = exact ? 0 : kRounding<T> * std::abs(expected) + 1e-6;
          ASSERT_LE(std::abs(widen(output[i]) - expected), tolerance)
              << what << " " << isa_name(isa) << " threads " << count << " activation " << static_cast<int>(activation) << " at " << i;
        }
      }
    }
  }
}

TYPED_TEST(Residuals, Linear) {
  using T = TypeParam;
  std::mt19937 random(5);
  for (const auto& [n, rows, cols, density] : std::vector<std::tuple<int64_t, int64_t, int64_t, double>>{
           {1, 1, 1, 1}, {3, 17, 33, 0.5}, {8, 70, 40, 0.1}, {9, 1, 5, 1}, {19, 33, 65, 0.3}, {40, 64, 64, 0}, {200, 200, 300, 0.05}}) {
    const auto structure = random_structure(rows, cols, density, random);
    const auto csr = structure.view();
    const auto values = random_vector<T>(csr.nnz, random), input = random_vector<T>(n * cols, random);
    const auto bias = random_vector<T>(rows, random);
    for (const bool code : {true, false}) {
      std::ostringstream what;
      what << "n " << n << " rows " << rows << " cols " << cols << " code " << code;
      expect_added<T>(n * rows, random, what.str(), [&, n = n, rows = rows, cols = cols](Residual<T> residual, Isa isa, const ParallelFor& parallel) {
        std::vector<T> output(static_cast<size_t>(n * rows));
        linear<T>({csr, values.data(), bias.data(), Activation::kNone, n, input.data(), cols, output.data(), nullptr, code, residual},
                  parallel, isa);
        return output;
      });
    }
  }
}

TYPED_TEST(Residuals, Conv2d) {
  using T = TypeParam;
  std::mt19937 random(6);
  // batch, channels, height, width, out, kernel, kernel, stride, stride, padding, padding, dilation, dilation, groups
  const std::vector<ConvShape> shapes = {
      {1, 3, 5, 7, 2, 3, 3, 1, 1, 1, 1},  {2, 8, 4, 8, 33, 1, 1},                   // planes of whole vectors: sums go straight out
      {1, 8, 5, 5, 40, 1, 1},             {2, 6, 9, 8, 8, 3, 2, 2, 1, 1, 0, 1, 2, 2},  // groups, strides, dilation
      {3, 16, 7, 7, 40, 3, 3, 1, 1, 1, 1}, {1, 4, 20, 33, 35, 3, 3, 1, 1, 1, 1}};
  for (const ConvShape& s : shapes) {
    const auto structure = random_structure(s.out_channels, s.cols(), 0.3, random);
    const auto csr = structure.view();
    const auto values = random_vector<T>(csr.nnz, random), bias = random_vector<T>(s.out_channels, random);
    const auto input = random_vector<T>(s.batch * s.in_channels * s.height * s.width, random);
    const int64_t size = s.pixels() * s.out_channels;
    for (const bool channels_last : {false, true}) {
      for (const bool code : {true, false}) {
        std::ostringstream what;
        what << s.in_channels << " x " << s.height << " x " << s.width << " channels_last " << channels_last << " code " << code;
        expect_added<T>(size, random, what.str(), [&](Residual<T> residual, Isa isa, const ParallelFor& parallel) {
          std::vector<T> output(static_cast<size_t>(size));
          conv2d<T>({csr, values.data(), bias.data(), Activation::kNone, s, input.data(), output.data(), channels_last, nullptr,
                     channels_last, code, residual},
                    parallel, isa);
          return output;
        });
      }
    }
  }
}

}  // namespace
}  // namespace jouleprune::kernels::csr::testing
