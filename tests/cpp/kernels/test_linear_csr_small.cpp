// Linear with few batch rows: every kernel by name, on every instruction set that has it.
#include <map>
#include <sstream>

#include "kernels/csr/small/linear_small.h"
#include "products.h"

namespace jouleprune::kernels::csr::testing {
namespace {

using small::SmallKernel;

constexpr SmallKernel kKernels[] = {SmallKernel::kRows, SmallKernel::kBitmap, SmallKernel::kJagged};
const char* const kNames[] = {"rows", "bitmap", "jagged"};

/// Keeps forms, as the torch side does.
class KeptForms : public PackedForms {
 public:
  std::shared_ptr<const PackedForm> get(const FormName& name, const Make& make) override {
    auto& form = forms_[std::string(name.kernel)];
    form = form == nullptr ? make() : form;
    return form;
  }
  std::array<int64_t, 2> structure_key() const override { return {}; }

 private:
  std::map<std::string, std::shared_ptr<const PackedForm>> forms_;
};

template <class T>
class SmallLinearCsr : public ::testing::Test {};
using ElementTypes = ::testing::Types<float, double, BFloat16, Half>;
TYPED_TEST_SUITE(SmallLinearCsr, ElementTypes);

struct Case {
  int64_t n, rows, cols;
  double density;
  int64_t gap = 0;  ///< unused elements between the batch rows of the input
  bool bias = true;
  Activation activation = Activation::kNone;
  bool keep_forms = true;

  std::string name() const {
    std::ostringstream out;
    out << "n " << n << " rows " << rows << " cols " << cols << " density " << density << (keep_forms ? " kept forms" : "");
    return out.str();
  }
};

/// Calls run(kernel, isa, name) for each kernel on each instruction set that has it.
template <class T, class Run>
void for_each_kernel(const Run& run) {
  for (const Isa isa : supported_isas()) {
    for (int i = 0; isa != Isa::kReference && i < 3; ++i) {
      if (small::has_kernel<T>(kKernels[i], isa)) {
        run(kKernels[i], isa, std::string(kNames[i]) + " on " + isa_name(isa));
      }
    }
  }
}

template <class T>
void check(const Case& c, std::mt19937& random) {
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
  KeptForms forms;
  for_each_kernel<T>([&](SmallKernel kernel, Isa isa, const std::string& name) {
    const auto run = [&](const ParallelFor& parallel) {
      auto output = unwritten<T>(c.n * c.rows);
      small::linear<T>({csr, values.data(), c.bias ? bias.data() : nullptr, c.activation, c.n, input.data(), stride, output.data(),
                        c.keep_forms ? &forms : nullptr},
                       parallel, isa, kernel);
      return output;
    };
    const auto one = run(serial);
    expect_near(expected, one, c.name() + ", " + name);
    for (int count = 2; count <= 3; ++count) {
      const auto more = run(threads(count));
      ASSERT_TRUE(one.empty() || std::memcmp(one.data(), more.data(), one.size() * sizeof(T)) == 0)
          << c.name() << ", " << name << " with " << count << " threads";
    }
  });
}

TYPED_TEST(SmallLinearCsr, OddSizes) {
  std::mt19937 random(11);
  for (const auto& c : std::vector<Case>{{0, 3, 4, 0.5},    {1, 0, 4, 0.5},   {1, 3, 0, 0.5},     {8, 3, 0, 0.5},
                                         {1, 1, 1, 1},      {2, 1, 3, 1},     {3, 5, 1, 0.5},     {5, 7, 11, 0},
                                         {1, 15, 63, 0.3},  {2, 16, 64, 0.3}, {4, 17, 65, 0.3},   {8, 31, 127, 0.3},
                                         {7, 32, 128, 0.3}, {6, 33, 129, 1},  {5, 65, 130, 0.01}, {3, 97, 200, 0.5, 3, false}}) {
    check<TypeParam>(c, random);
  }
}

TYPED_TEST(SmallLinearCsr, RandomSizes) {
  std::mt19937 random(12);
  for (int i = 0; i < random_cases(300); ++i) {
    const double densities[] = {0, 0.01, 0.1, 0.3, 0.5, 1};
    check<TypeParam>({1 + static_cast<int64_t>(random() % 8), static_cast<int64_t>(random() % 100),
                      static_cast<int64_t>(random() % 200), densities[random() % 6], static_cast<int64_t>(random() % 3),
                      random() % 2 == 0, static_cast<Activation>(random() % 4), random() % 2 == 0},
                     random);
  }
}

TYPED_TEST(SmallLinearCsr, ColumnsOnBothSidesOfSixteenBits) {
  std::mt19937 random(13);
  for (const int64_t cols : {65'535, 65'536, 65'537, 140'000}) {
    check<TypeParam>({1, 3, cols, 0.01}, random);
    check<TypeParam>({5, 2, cols, 0.001}, random);
  }
}

TYPED_TEST(SmallLinearCsr, RemovedWeightsNeverMultiply) {
  using T = TypeParam;
  using A = Accumulate<T>;
  const auto number = [](double x) { return narrow<T>(static_cast<A>(x)); };
  // Row r keeps columns r, r + 2, ... only; rows 37 and 38 keep nothing. Every odd input is Inf or NaN.
  constexpr int64_t kRows = 39, kCols = 70;
  Structure structure{kRows, kCols, {}, {0}};
  for (int32_t r = 0; r < kRows; ++r) {
    for (int32_t c = r % 2; r < 37 && c < kCols; c += 2) {
      structure.col_indices.push_back(c);
    }
    structure.row_offsets.push_back(static_cast<int32_t>(structure.col_indices.size()));
  }
  const std::vector<T> values(structure.col_indices.size(), number(1));
  for (int64_t n = 1; n <= small::kMaxBatch; ++n) {
    std::vector<T> input;
    for (int64_t i = 0; i < n * kCols; ++i) {
      input.push_back(number(i % 2 == 0 ? 1 : i % kCols == 1 ? NAN : INFINITY));
    }
    for_each_kernel<T>([&](SmallKernel kernel, Isa isa, const std::string& name) {
      auto output = unwritten<T>(n * kRows);
      small::linear<T>({structure.view(), values.data(), nullptr, Activation::kRelu, n, input.data(), kCols, output.data()}, serial, isa,
                       kernel);
      for (int64_t i = 0; i < n * kRows; ++i) {
        const int64_t r = i % kRows;
        const auto got = static_cast<double>(widen(output[i]));
        if (r % 2 == 1 && r < 37) {
          EXPECT_TRUE(std::isnan(got)) << name << " row " << r << ": relu(NaN) is NaN";
        } else {
          EXPECT_EQ(got, r < 37 ? kCols / 2 : 0) << name << " row " << r << " n " << n;
        }
      }
    });
  }
}

TYPED_TEST(SmallLinearCsr, KeptZerosStillMultiply) {
  using T = TypeParam;
  using A = Accumulate<T>;
  const Structure structure{2, 3, {0, 2}, {0, 1, 2}};
  const std::vector<T> values = {narrow<T>(A{-0.0}), narrow<T>(A{0})};
  const std::vector<T> input = {narrow<T>(std::numeric_limits<A>::infinity()), narrow<T>(A{1}), narrow<T>(A{2})};
  for_each_kernel<T>([&](SmallKernel kernel, Isa isa, const std::string& name) {
    auto output = unwritten<T>(2);
    small::linear<T>({structure.view(), values.data(), nullptr, Activation::kNone, 1, input.data(), 3, output.data()}, serial, isa, kernel);
    EXPECT_TRUE(std::isnan(static_cast<double>(widen(output[0])))) << name << ": a kept 0 times Inf";
    EXPECT_EQ(static_cast<double>(widen(output[1])), 0) << name;
  });
}

TEST(SmallKernelChoice, IsOneThatExists) {
  std::mt19937 random(14);
  for (const Isa isa : supported_isas()) {
    for (int i = 0; isa != Isa::kReference && i < 1000; ++i) {
      const int64_t rows = static_cast<int64_t>(random() % 5000), cols = static_cast<int64_t>(random() % 100'000);
      const int64_t nnz = static_cast<int64_t>(static_cast<double>(rows * cols) * (random() % 100) / 100), n = 1 + random() % 8;
      EXPECT_TRUE(small::has_kernel<float>(small::choose({rows, cols, nnz, n, 4, isa, random() % 2 == 0}), isa));
      EXPECT_TRUE(small::has_kernel<BFloat16>(small::choose({rows, cols, nnz, n, 2, isa, random() % 2 == 0}), isa));
      EXPECT_TRUE(small::has_kernel<double>(small::choose({rows, cols, nnz, n, 8, isa, random() % 2 == 0}), isa));
    }
  }
}

TEST(SmallKernelChoice, FollowsSparsityAndCaches) {
  const auto chosen = [](int64_t size, double density, int64_t n, bool fits) {
    const auto nnz = static_cast<int64_t>(static_cast<double>(size * size) * density);
    return small::choose({size, size, nnz, n, 4, Isa::kAvx512, fits});
  };
  EXPECT_EQ(chosen(1024, 0.5, 1, true), SmallKernel::kJagged);
  EXPECT_EQ(chosen(4096, 0.5, 1, false), SmallKernel::kBitmap);
  EXPECT_EQ(chosen(4096, 0.1, 1, false), SmallKernel::kJagged);
  EXPECT_EQ(chosen(1024, 0.5, 8, true), SmallKernel::kBitmap);
  EXPECT_EQ(chosen(1024, 0.1, 8, true), SmallKernel::kRows);
  EXPECT_EQ(chosen(4096, 0.0001, 1, true), SmallKernel::kRows);
}

}  // namespace
}  // namespace jouleprune::kernels::csr::testing
