#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "formats/csr.h"
#include "formats/csr_pack.h"

namespace jouleprune::formats {
namespace {

struct Matrix {
  int64_t rows, cols;
  std::vector<int32_t> col_indices, row_offsets;

  CsrView view() const { return {rows, cols, static_cast<int64_t>(col_indices.size()), col_indices.data(), row_offsets.data()}; }
};

// [[0 x 0 x], [0 0 0 0], [x x 0 0]]
Matrix example() { return {3, 4, {1, 3, 0, 1}, {0, 2, 2, 4}}; }

TEST(CsrKey, IsStableAcrossBuilds) {
  // Files hold keys: this one must never change within schema 1.
  const auto key = csr_key(example().view());
  EXPECT_EQ(key, csr_key(example().view()));
  EXPECT_EQ(key[0], INT64_C(-2898835655010618534));
  EXPECT_EQ(key[1], INT64_C(3159480516595232054));
}

TEST(CsrKey, ChangesWithEverything) {
  std::set<std::array<int64_t, 2>> keys = {csr_key(example().view())};
  const auto differs = [&](const Matrix& matrix) { return keys.insert(csr_key(matrix.view())).second; };
  for (size_t i = 0; i < 4; ++i) {
    for (int bit = 0; bit < 31; ++bit) {
      auto other = example();
      other.col_indices[i] ^= 1 << bit;
      EXPECT_TRUE(differs(other)) << "col_indices[" << i << "] bit " << bit;
      other = example();
      other.row_offsets[i] ^= 1 << bit;
      EXPECT_TRUE(differs(other)) << "row_offsets[" << i << "] bit " << bit;
    }
  }
  auto other = example();
  other.cols = 5;
  EXPECT_TRUE(differs(other));
  other = example();
  other.rows = 4;
  other.row_offsets.push_back(4);
  EXPECT_TRUE(differs(other));
  other = example();
  std::swap(other.col_indices[0], other.col_indices[1]);
  EXPECT_TRUE(differs(other)) << "order";
}

TEST(CsrKey, BothHalvesMix) {
  std::set<int64_t> low, high;
  std::mt19937 random(1);
  Matrix matrix{1, 1 << 20, std::vector<int32_t>(9), {0, 9}};
  for (int i = 0; i < 2000; ++i) {
    for (auto& col : matrix.col_indices) {
      col = static_cast<int32_t>(random() % 4);  // nearly alike
    }
    matrix.col_indices[0] = i;
    const auto key = csr_key(matrix.view());
    low.insert(key[0]);
    high.insert(key[1]);
  }
  EXPECT_EQ(low.size(), 2000u);
  EXPECT_EQ(high.size(), 2000u);
}

TEST(CsrDefect, SoundStructures) {
  EXPECT_EQ(csr_defect(example().view()), "");
  EXPECT_EQ(csr_defect(Matrix{0, 0, {}, {0}}.view()), "");
  EXPECT_EQ(csr_defect(Matrix{0, 7, {}, {0}}.view()), "");
  EXPECT_EQ(csr_defect(Matrix{3, 0, {}, {0, 0, 0, 0}}.view()), "");
}

TEST(CsrDefect, NamesWhatIsWrong) {
  const auto defect = [](auto change) {
    auto matrix = example();
    change(matrix);
    return csr_defect(matrix.view());
  };
  EXPECT_EQ(defect([](Matrix& m) { m.col_indices[1] = 4; }), "col_indices[1]: expected a column in [0, 4), got 4");
  EXPECT_EQ(defect([](Matrix& m) { m.col_indices[0] = -1; }), "col_indices[0]: expected a column in [0, 4), got -1");
  EXPECT_EQ(defect([](Matrix& m) { m.col_indices[1] = 1; }), "col_indices[1]: expected ascending columns in row 0, got 1 after 1");
  EXPECT_EQ(defect([](Matrix& m) { m.col_indices[3] = 0; }), "col_indices[3]: expected ascending columns in row 2, got 0 after 0");
  EXPECT_EQ(defect([](Matrix& m) { m.row_offsets[0] = 1; }), "row_offsets[0]: expected 0, got 1");
  EXPECT_EQ(defect([](Matrix& m) { m.row_offsets[3] = 3; }), "row_offsets[3]: expected nnz = 4, got 3");
  EXPECT_EQ(defect([](Matrix& m) { m.row_offsets[1] = 3; }),
            "row_offsets[2]: expected at least 3 (offsets never decrease), got 2");
  EXPECT_NE(defect([](Matrix& m) { m.row_offsets[1] = 1 << 30; }), "");  // must not be read through
  EXPECT_NE(defect([](Matrix& m) { m.row_offsets[1] = -5; }), "");
  EXPECT_EQ(csr_defect({int64_t{1} << 31, 1, 0, nullptr, nullptr}), "rows: expected 0 to 2147483647, got 2147483648");
  EXPECT_EQ(csr_defect({1, -1, 0, nullptr, nullptr}), "cols: expected 0 to 2147483647, got -1");
}

TEST(CsrPack, RoundTrip) {
  std::mt19937 random(2);
  for (int round = 0; round < 200; ++round) {
    const int64_t rows = random() % 6, cols = random() % 9;
    const auto size = static_cast<size_t>(rows * cols);
    const auto kept = std::make_unique<bool[]>(size + 1);
    std::vector<float> dense(size), values;
    for (size_t i = 0; i < size; ++i) {
      kept[i] = random() % 3 == 0;
      dense[i] = kept[i] ? static_cast<float>(i + 1) : 0;
      if (kept[i]) {
        values.push_back(dense[i]);
      }
    }
    std::vector<int32_t> row_offsets(static_cast<size_t>(rows + 1), -1);
    ASSERT_EQ(csr_offsets(kept.get(), rows, cols, row_offsets.data()), static_cast<int64_t>(values.size()));
    std::vector<int32_t> col_indices(values.size());
    csr_columns(kept.get(), rows, cols, col_indices.data());
    const CsrView view{rows, cols, static_cast<int64_t>(values.size()), col_indices.data(), row_offsets.data()};
    EXPECT_EQ(csr_defect(view), "");
    std::vector<float> again(size, 0);
    csr_scatter(view, values.data(), again.data());
    EXPECT_EQ(again, dense);
  }
}

}  // namespace
}  // namespace jouleprune::formats
