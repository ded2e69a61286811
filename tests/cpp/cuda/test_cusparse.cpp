// cuSPARSE as the products of cuda/vendor call it, by a stand-in that multiplies on the host (fake_cusparse.cpp).
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "cuda/values.h"
#include "vendor/cusparse_products.h"

namespace jouleprune::cuda::vendor {
namespace {

/// The stand-in, loaded as the library would be.
class Cusparse : public testing::Test {
 protected:
  void SetUp() override {
    std::string why_not;
    api = load_cusparse(JOULEPRUNE_FAKE_CUSPARSE, why_not);
    ASSERT_NE(api, nullptr) << why_not;
    calls = reinterpret_cast<const char* (*)()>(dlsym(api->library.get(), "fake_cusparse_calls"));
    begin = reinterpret_cast<void (*)(const char*)>(dlsym(api->library.get(), "fake_cusparse_begin"));
    begin("");
  }
  Workspace workspace() {
    return [this](size_t bytes) {
      buffer.resize(bytes);
      return buffer.data();
    };
  }

  std::shared_ptr<const CusparseApi> api;
  const char* (*calls)() = nullptr;
  void (*begin)(const char*) = nullptr;
  std::vector<unsigned char> buffer;
};

/// A random weight of blocks of r x c, and its activations.
template <class T>
struct Problem {
  int64_t rows, cols, n;
  int32_t r, c;
  std::vector<int32_t> offsets{0}, columns;
  Array<T> values, x, y;
  int64_t x_stride;

  Problem(int64_t rows_, int64_t cols_, int64_t n_, int32_t r_, int32_t c_) : rows(rows_), cols(cols_), n(n_), r(r_), c(c_), x_stride(cols_ + 3) {
    std::mt19937_64 random(static_cast<uint64_t>(rows * 31 + n));
    for (int64_t i = 0; i < rows / r; ++i) {
      for (int64_t j = 0; j < cols / c; ++j) {
        if (random() % 3 == 0) columns.push_back(static_cast<int32_t>(j));
      }
      offsets.push_back(static_cast<int32_t>(columns.size()));
    }
    values = random_values<T>(random, static_cast<int64_t>(columns.size()) * r * c);
    x = random_values<T>(random, n * x_stride);
    y = random_values<T>(random, n * rows);
  }
  SparseWeight weight(ElementType type) const {
    return {type, rows, cols, static_cast<int64_t>(columns.size()), r, c, offsets.data(), columns.data(), values.data()};
  }
  /// visit(row, column, place of the value)
  void for_each(const std::function<void(int64_t, int64_t, int64_t)>& visit) const {
    for (int64_t i = 0; i < rows / r; ++i) {
      for (int64_t k = offsets[static_cast<size_t>(i)]; k < offsets[static_cast<size_t>(i) + 1]; ++k) {
        for (int64_t a = 0; a < r; ++a) {
          for (int64_t b = 0; b < c; ++b) visit(i * r + a, columns[static_cast<size_t>(k)] * c + b, (k * r + a) * c + b);
        }
      }
    }
  }
};

template <class T>
void check_product(const CusparseApi& api, const Workspace& workspace, ElementType type, const Problem<T>& p) {
  Array<T> output(p.n * p.rows);
  ASSERT_EQ(run(api, nullptr, SparseProduct{p.weight(type), p.x.data(), p.x_stride, p.n, output.data()}, workspace), "");
  std::vector<double> sums(static_cast<size_t>(p.n * p.rows)), sizes(sums.size());
  p.for_each([&](int64_t row, int64_t col, int64_t place) {
    for (int64_t j = 0; j < p.n; ++j) {
      const double term = static_cast<double>(simt::widen(p.values[place])) * simt::widen(p.x[j * p.x_stride + col]);
      sums[static_cast<size_t>(j * p.rows + row)] += term;
      sizes[static_cast<size_t>(j * p.rows + row)] += std::abs(term);
    }
  });
  for (size_t i = 0; i < sums.size(); ++i) {
    ASSERT_NEAR(simt::widen(output[static_cast<int64_t>(i)]), sums[i], tolerance<T>(sums[i], sizes[i], false)) << i;
  }
}

TEST_F(Cusparse, MultipliesLayoutsCsrAndBsr) {
  for (const auto& [r, c] : {std::pair<int32_t, int32_t>{1, 1}, {16, 1}, {4, 8}}) {
    check_product(*api, workspace(), ElementType::kFloat32, Problem<float>(32, 48, 5, r, c));
    check_product(*api, workspace(), ElementType::kFloat64, Problem<double>(32, 48, 1, r, c));
    check_product(*api, workspace(), ElementType::kFloat16, Problem<simt::Half>(16, 8, 7, r, c));
    check_product(*api, workspace(), ElementType::kBFloat16, Problem<simt::BFloat16>(48, 40, 3, r, c));
  }
}

TEST_F(Cusparse, SamplesProductsForTheGradientOfTheValues) {
  const Problem<float> p(17, 23, 6, 1, 1);
  Array<float> gradient(static_cast<int64_t>(p.columns.size()));
  ASSERT_EQ(run(*api, nullptr, SampledProduct{p.weight(ElementType::kFloat32), p.y.data(), p.rows, p.x.data(), p.x_stride, p.n, gradient.data()}, workspace()), "");
  p.for_each([&](int64_t row, int64_t col, int64_t place) {
    double sum = 0;
    for (int64_t j = 0; j < p.n; ++j) sum += static_cast<double>(p.y[j * p.rows + row]) * p.x[j * p.x_stride + col];
    EXPECT_NEAR(gradient[place], sum, 1e-5);
  });
}

// The call sequence: column-major operands, deterministic algorithms, sums in float32, everything destroyed.
TEST_F(Cusparse, CallsInOrderWithWhatTheLibraryExpects) {
  const Problem<simt::Half> p(32, 48, 5, 1, 1);
  Array<simt::Half> output(p.n * p.rows);
  ASSERT_EQ(run(*api, nullptr, SparseProduct{p.weight(ElementType::kFloat16), p.x.data(), p.x_stride, p.n, output.data()}, workspace()), "");
  EXPECT_EQ(std::string(calls()), "cusparseCreateCsr(32 48 " + std::to_string(p.columns.size()) +
                                      " 2)\ncusparseCreateDnMat(48 5 51 2 1)\ncusparseCreateDnMat(32 5 32 2 1)\ncusparseSpMM_bufferSize(12)\n"
                                      "cusparseSpMM(0 12)\ncusparseDestroyDnMat()\ncusparseDestroyDnMat()\ncusparseDestroySpMat()\n");
  EXPECT_EQ(buffer.size(), 48u);
  const Problem<double> blocks(32, 48, 5, 16, 4);
  Array<double> wide(blocks.n * blocks.rows);
  begin("");
  ASSERT_EQ(run(*api, nullptr, SparseProduct{blocks.weight(ElementType::kFloat64), blocks.x.data(), blocks.x_stride, blocks.n, wide.data()}, workspace()), "");
  EXPECT_NE(std::string(calls()).find("cusparseCreateBsr(2 12 " + std::to_string(blocks.columns.size()) + " 16 4 1)\n"), std::string::npos);
  EXPECT_NE(std::string(calls()).find("cusparseSpMM(1 14)\n"), std::string::npos) << calls();
}

TEST_F(Cusparse, AFailedCallIsNamedAndNothingIsLeftBehind) {
  const Problem<float> p(4, 4, 2, 1, 1);
  Array<float> output(8);
  for (const char* const call : {"cusparseCreateCsr", "cusparseCreateDnMat", "cusparseSpMM_bufferSize", "cusparseSpMM"}) {
    begin(call);
    EXPECT_EQ(run(*api, nullptr, SparseProduct{p.weight(ElementType::kFloat32), p.x.data(), p.x_stride, p.n, output.data()}, workspace()),
              std::string(call) + ": operation not supported");
    const std::string all = calls();
    const auto count = [&](const std::string& what) {
      size_t found = 0;
      for (size_t at = all.find(what); at != std::string::npos; at = all.find(what, at + 1)) ++found;
      return found;
    };
    EXPECT_EQ(count("cusparseCreate"), count("cusparseDestroy")) << all;
  }
}

TEST_F(Cusparse, NothingToMultiplyCallsNothing) {
  const Problem<float> p(0, 4, 2, 1, 1), q(4, 4, 0, 1, 1);
  EXPECT_EQ(run(*api, nullptr, SparseProduct{p.weight(ElementType::kFloat32), p.x.data(), 4, 2, nullptr}, workspace()), "");
  EXPECT_EQ(run(*api, nullptr, SparseProduct{q.weight(ElementType::kFloat32), q.x.data(), 4, 0, nullptr}, workspace()), "");
  EXPECT_EQ(std::string(calls()), "");
}

TEST(CusparseLoader, SaysWhyTheLibraryIsNotAvailable) {
  std::string why_not;
  EXPECT_EQ(load_cusparse("libno-such-cusparse.so", why_not), nullptr);
  EXPECT_EQ(why_not.find("cuSPARSE is not available: libno-such-cusparse.so"), 0u) << why_not;
  EXPECT_EQ(load_cusparse("libm.so.6", why_not), nullptr);
  EXPECT_EQ(why_not, "cuSPARSE is not available: libm.so.6: it has no cusparseCreate");
  ::setenv("JOULEPRUNE_CUSPARSE", "off", 1);
  EXPECT_EQ(find_cusparse(why_not), nullptr);
  EXPECT_EQ(why_not, "cuSPARSE is not available: JOULEPRUNE_CUSPARSE is off");
  ::setenv("JOULEPRUNE_CUSPARSE", JOULEPRUNE_FAKE_CUSPARSE, 1);
  EXPECT_NE(find_cusparse(why_not), nullptr);
  EXPECT_EQ(why_not, "");
  ::unsetenv("JOULEPRUNE_CUSPARSE");
}

}  // namespace
}  // namespace jouleprune::cuda::vendor
