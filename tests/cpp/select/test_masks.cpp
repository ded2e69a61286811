#include "select/masks.h"

#include <gtest/gtest.h>

namespace jouleprune::select {
namespace {

TEST(Masks, TiesStayInIndexOrder) {
  const std::vector<float> scores{2, 1, 3, 2, 2, 0, 2, 1, 2, 5};
  Ranking ranking(scores, "w");
  // order: 9 2 0 3 4 6 8 1 7 5
  EXPECT_EQ(mask_bits(ranking, 0), (std::vector<uint8_t>{0, 0}));
  EXPECT_EQ(mask_bits(ranking, 2), (std::vector<uint8_t>{0b00000100, 0b10}));
  EXPECT_EQ(mask_bits(ranking, 5), (std::vector<uint8_t>{0b00011101, 0b10}));
  EXPECT_EQ(mask_bits(ranking, 10), (std::vector<uint8_t>{0b11111111, 0b11}));
  const std::vector<int64_t> order{9, 2, 0, 3, 4, 6, 8, 1, 7, 5};
  for (size_t i = 0; i < order.size(); ++i) EXPECT_EQ(index_at(ranking, static_cast<int64_t>(i) + 1), order[i]);
}

TEST(Masks, EveryCountHasItsBits) {
  std::vector<float> scores(1003);
  for (size_t i = 0; i < scores.size(); ++i) scores[i] = static_cast<float>((i * 7919) % 50);
  Ranking ranking(scores, "w");
  std::vector<uint8_t> before = mask_bits(ranking, 0);
  for (int64_t kept = 1; kept <= 1003; ++kept) {
    std::vector<uint8_t> bits = mask_bits(ranking, kept);
    const int64_t added = index_at(ranking, kept);
    before[static_cast<size_t>(added / 8)] |= static_cast<uint8_t>(1u << (added % 8));
    ASSERT_EQ(bits, before) << kept;
  }
}

}  // namespace
}  // namespace jouleprune::select
