#include <gtest/gtest.h>

#include <array>
#include <random>
#include <set>
#include <vector>

#include "formats/bsr_pack.h"

namespace jouleprune::formats {
namespace {

struct Matrix {
  int64_t rows, cols, r, c;
  std::vector<int32_t> columns, offsets;

  BsrView view() const { return {rows, cols, r, c, static_cast<int64_t>(columns.size()), columns.data(), offsets.data()}; }
};

// 5 x 7 in blocks of 2 x 3: [[0 x x], [0 0 0], [x 0 0]]
Matrix example() { return {5, 7, 2, 3, {1, 2, 0}, {0, 2, 2, 3}}; }

TEST(BsrKey, ChangesWithEverythingAndIsNoCsrKey) {
  std::set<std::array<int64_t, 2>> keys = {bsr_key(example().view()), csr_key(example().view().block_view())};
  EXPECT_EQ(keys.size(), 2u);
  const auto differs = [&](auto change) {
    auto matrix = example();
    change(matrix);
    return keys.insert(bsr_key(matrix.view())).second;
  };
  EXPECT_TRUE(differs([](Matrix& m) { m.rows = 6; }));
  EXPECT_TRUE(differs([](Matrix& m) { m.cols = 8; }));
  EXPECT_TRUE(differs([](Matrix& m) { m.columns[0] = 0; }));
  EXPECT_TRUE(differs([](Matrix& m) { m.offsets[1] = 1; }));
  EXPECT_TRUE(differs([](Matrix& m) { m = {3, 3, 1, 1, {1, 2, 0}, {0, 2, 2, 3}}; }));
  EXPECT_TRUE(differs([](Matrix& m) { m = {3, 6, 1, 2, {1, 2, 0}, {0, 2, 2, 3}}; }));
  EXPECT_TRUE(differs([](Matrix& m) { m = {6, 3, 2, 1, {1, 2, 0}, {0, 2, 2, 3}}; }));
}

TEST(BsrKey, IsStableAcrossBuilds) {
  // Files hold keys: this one must never change within schema 1.
  const auto key = bsr_key(example().view());
  EXPECT_EQ(key[0], INT64_C(2357645595137950008));
  EXPECT_EQ(key[1], INT64_C(-2413891373426322491));
}

TEST(BsrDefect, NamesWhatIsWrong) {
  EXPECT_EQ(bsr_defect(example().view()), "");
  EXPECT_EQ(bsr_defect(Matrix{0, 0, 16, 1, {}, {0}}.view()), "");
  const auto defect = [](auto change) {
    auto matrix = example();
    change(matrix);
    return bsr_defect(matrix.view());
  };
  EXPECT_EQ(defect([](Matrix& m) { m.columns[1] = 3; }), "block_columns[1]: expected a column in [0, 3), got 3");
  EXPECT_EQ(defect([](Matrix& m) { m.columns[1] = 1; }), "block_columns[1]: expected ascending columns in row 0, got 1 after 1");
  EXPECT_EQ(defect([](Matrix& m) { m.offsets[0] = 1; }), "block_row_offsets[0]: expected 0, got 1");
  EXPECT_EQ(defect([](Matrix& m) { m.offsets[3] = 2; }), "block_row_offsets[3]: expected blocks = 3, got 2");
  EXPECT_EQ(defect([](Matrix& m) { m.r = 0; }), "block size: expected at least 1 x 1, got 0 x 3");
  EXPECT_EQ(defect([](Matrix& m) { m.cols = -1; }), "cols: expected 0 to 2147483647, got -1");
}

TEST(BsrPack, KeptBlocksHoldEveryKeptEntry) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    const int64_t rows = random() % 9, cols = random() % 9, r = 1 + random() % 4, c = 1 + random() % 4;
    std::vector<char> kept(static_cast<size_t>(rows * cols + 1));
    for (auto& entry : kept) {
      entry = random() % 8 == 0;
    }
    const bool* const data = reinterpret_cast<const bool*>(kept.data());
    Matrix matrix{rows, cols, r, c, {}, {0}};
    matrix.offsets.resize(static_cast<size_t>(matrix.view().down() + 1));
    for_each_kept_block(data, rows, cols, r, c, [&](int64_t row, int64_t column) {
      matrix.columns.push_back(static_cast<int32_t>(column));
      for (size_t after = static_cast<size_t>(row) + 1; after < matrix.offsets.size(); ++after) {
        ++matrix.offsets[after];
      }
    });
    ASSERT_EQ(bsr_defect(matrix.view()), "");
    std::vector<int> seen(kept.size());
    std::set<int64_t> entries, used;
    for_each_entry(matrix.view(), [&](int64_t entry, int64_t row, int64_t col) {
      ASSERT_TRUE(row < rows && col < cols && entries.insert(entry).second);
      seen[static_cast<size_t>(row * cols + col)] = 1;
      if (kept[static_cast<size_t>(row * cols + col)]) {
        used.insert(entry / (r * c));
      }
    });
    EXPECT_EQ(used.size(), matrix.columns.size()) << "a kept block holds a kept entry";
    for (size_t i = 0; i + 1 < kept.size(); ++i) {
      EXPECT_TRUE(!kept[i] || seen[i]) << "entry " << i;
    }
  }
}

}  // namespace
}  // namespace jouleprune::formats
