#include "formats/nm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include "formats/csr.h"

namespace jouleprune::formats {
namespace {

/// Keeps at most n of each group of m, in every fourth group fewer.
std::unique_ptr<bool[]> obeying(const NmShape& shape, unsigned seed) {
  auto keep = std::make_unique<bool[]>(static_cast<size_t>(shape.rows * shape.cols));
  std::mt19937 random(seed);
  for (int64_t row = 0; row < shape.rows; ++row) {
    for (int64_t left = 0; left < shape.cols; left += shape.m) {
      std::vector<int64_t> places(static_cast<size_t>(std::min(shape.m, shape.cols - left)));
      for (size_t i = 0; i < places.size(); ++i) places[i] = left + static_cast<int64_t>(i);
      std::shuffle(places.begin(), places.end(), random);
      const size_t most = std::min(places.size(), static_cast<size_t>(shape.n));
      places.resize(random() % 4 == 0 ? random() % (most + 1) : most);
      for (const int64_t col : places) keep[row * shape.cols + col] = true;
    }
  }
  return keep;
}

std::vector<NmShape> shapes() {
  return {{0, 8, 2, 4}, {3, 0, 2, 4}, {1, 1, 1, 2}, {5, 7, 2, 4}, {4, 8, 2, 4}, {3, 33, 1, 32}, {3, 70, 31, 32}, {6, 10, 2, 3}, {2, 5, 3, 8}};
}

TEST(FormatNm, ChoosesWhatIsKeptAndFillsGroups) {
  for (const NmShape& shape : shapes()) {
    const auto keep = obeying(shape, 1);
    std::vector<uint8_t> indices(static_cast<size_t>(shape.nnz()));
    ASSERT_EQ(nm_choose(shape, keep.get(), indices.data()), -1);
    EXPECT_EQ(nm_defect(shape, indices.data()), "");
    std::vector<int32_t> columns(indices.size());
    nm_columns(shape, indices.data(), columns.data());
    std::vector<int32_t> offsets;
    for (int64_t row = 0; row <= shape.rows; ++row) offsets.push_back(static_cast<int32_t>(row * shape.kept()));
    EXPECT_EQ(csr_defect({shape.rows, shape.cols, shape.nnz(), columns.data(), offsets.data()}), "");
    for (int64_t row = 0; row < shape.rows; ++row) {
      const auto begin = columns.begin() + offsets[row], end = columns.begin() + offsets[row + 1];
      for (int64_t col = 0; col < shape.cols; ++col) {
        if (keep[row * shape.cols + col]) {
          EXPECT_TRUE(std::binary_search(begin, end, static_cast<int32_t>(col)));
        }
      }
    }
  }
}

TEST(FormatNm, NamesTheFirstGroupThatKeepsTooMany) {
  const NmShape shape{2, 10, 1, 4};
  bool keep[20] = {};
  keep[10 + 8] = keep[10 + 9] = true;  // second row, last group, which has two inputs
  std::vector<uint8_t> indices(static_cast<size_t>(shape.nnz()));
  EXPECT_EQ(nm_choose(shape, keep, indices.data()), 3 + 2);
}

TEST(FormatNm, DefectsAreNamed) {
  const NmShape shape{2, 6, 2, 4};
  const std::vector<uint8_t> good = {0, 3, 0, 1, 1, 2, 0, 1};
  ASSERT_EQ(static_cast<int64_t>(good.size()), shape.nnz());
  EXPECT_EQ(nm_defect(shape, good.data()), "");
  auto bad = good;
  bad[1] = 4;
  EXPECT_EQ(nm_defect(shape, bad.data()), "indices[0, 1]: expected an index in [0, 4), got 4 in the group of inputs 0 to 3");
  bad = good;
  bad[7] = 2;  // the last group is two inputs wide
  EXPECT_EQ(nm_defect(shape, bad.data()), "indices[1, 3]: expected an index in [0, 2), got 2 in the group of inputs 4 to 5");
  bad = good;
  bad[5] = 1;
  EXPECT_NE(nm_defect(shape, bad.data()).find("indices[1, 1]: expected ascending indices"), std::string::npos);
}

TEST(FormatNm, PatternsHaveBounds) {
  EXPECT_EQ(nm_pattern_defect(2, 4), "");
  EXPECT_EQ(nm_pattern_defect(31, 32), "");
  for (const auto& [n, m] : {std::pair{0, 4}, {4, 4}, {5, 4}, {1, 33}, {-1, 2}}) EXPECT_NE(nm_pattern_defect(n, m), "") << n << ":" << m;
}

TEST(FormatNm, KeysCoverSizesPatternAndIndices) {
  const std::vector<uint8_t> indices = {0, 1, 0, 1, 0, 1, 0, 1};
  std::vector<std::array<int64_t, 2>> keys;
  for (const NmShape& shape : {NmShape{2, 8, 2, 4}, {2, 6, 2, 3}, {1, 16, 2, 4}, {4, 4, 2, 4}, {2, 7, 2, 4}}) {
    ASSERT_LE(shape.nnz(), 8);
    keys.push_back(nm_key(shape, indices.data()));
  }
  auto other = indices;
  other[7] = 2;
  keys.push_back(nm_key({2, 8, 2, 4}, other.data()));
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(std::adjacent_find(keys.begin(), keys.end()), keys.end());
}

}  // namespace
}  // namespace jouleprune::formats
