#include "select/smallest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kernels/products.h"

namespace jouleprune::select {
namespace {
using kernels::serial;
using kernels::csr::testing::threads;

template <class Score>
Score score_of_int(int value) {
  return static_cast<Score>(value);
}
template <>
Bits16 score_of_int<Bits16>(int value) {  // bfloat16: exact for small integers
  const uint32_t bits = std::bit_cast<uint32_t>(static_cast<float>(value));
  return {static_cast<uint16_t>(bits >> 16)};
}

/// Tensors with masks, as vectors of char: std::vector<bool> has no pointers.
template <class Score>
struct Tensors {
  std::vector<std::vector<Score>> scores;
  std::vector<std::vector<char>> left;  // empty: all are

  std::vector<std::vector<char>> remove(int64_t amount, const kernels::ParallelFor& parallel = serial) const {
    std::vector<std::vector<char>> kept;
    for (const auto& each : scores) kept.emplace_back(each.size(), char{2});
    std::vector<Part<Score>> parts;
    for (size_t i = 0; i < scores.size(); ++i) {
      parts.push_back({scores[i].data(), left.empty() ? nullptr : reinterpret_cast<const bool*>(left[i].data()),
                       static_cast<int64_t>(scores[i].size()), reinterpret_cast<bool*>(kept[i].data())});
    }
    remove_smallest<Score>(parts, amount, parallel);
    return kept;
  }

  /// By its definition: sorted by magnitude, later entries first among equal ones.
  std::vector<std::vector<char>> remove_by_sorting(int64_t amount) const {
    struct Place {
      double magnitude;
      size_t part, at;
    };
    std::vector<Place> order;
    std::vector<std::vector<char>> kept;
    for (size_t part = 0; part < scores.size(); ++part) {
      kept.emplace_back(scores[part].size(), char{0});
      for (size_t at = 0; at < scores[part].size(); ++at) {
        if (!left.empty() && left[part][at] == 0) continue;
        kept[part][at] = 1;
        order.push_back({static_cast<double>(magnitude(scores[part][at])), part, at});
      }
    }
    std::sort(order.begin(), order.end(), [](const Place& a, const Place& b) {
      if (a.magnitude != b.magnitude) return a.magnitude < b.magnitude;
      return a.part != b.part ? a.part > b.part : a.at > b.at;
    });
    for (int64_t i = 0; i < amount; ++i) kept[order[static_cast<size_t>(i)].part][order[static_cast<size_t>(i)].at] = 0;
    return kept;
  }

  int64_t count_left() const {
    int64_t count = 0;
    for (size_t i = 0; i < scores.size(); ++i) {
      count += left.empty() ? static_cast<int64_t>(scores[i].size()) : std::count(left[i].begin(), left[i].end(), 1);
    }
    return count;
  }
};

template <class Score>
class Smallest : public ::testing::Test {};
using Scores = ::testing::Types<Bits16, float, double, int64_t>;
TYPED_TEST_SUITE(Smallest, Scores);

TYPED_TEST(Smallest, EveryAmountEqualsSorting) {
  std::mt19937 random(1);
  for (const int spread : {0, 2, 300}) {  // all equal, many ties, few
    Tensors<TypeParam> tensors;
    for (const size_t size : {0, 1, 7, 64, 33}) {
      tensors.scores.emplace_back();
      tensors.left.emplace_back();
      for (size_t i = 0; i < size; ++i) {
        tensors.scores.back().push_back(
            score_of_int<TypeParam>(static_cast<int>(random() % (2 * spread + 1)) - spread));
        tensors.left.back().push_back(random() % 4 != 0);
      }
    }
    for (int64_t amount = 0; amount <= tensors.count_left(); ++amount) {
      ASSERT_EQ(tensors.remove(amount), tensors.remove_by_sorting(amount)) << spread << " " << amount;
    }
  }
}

TYPED_TEST(Smallest, ThreadsDoNotShow) {
  std::mt19937 random(2);
  Tensors<TypeParam> tensors;
  for (const size_t size : {300'001, 5, 700'003}) {  // chunks of 65,536: whole and broken ones
    tensors.scores.emplace_back();
    for (size_t i = 0; i < size; ++i) {
      tensors.scores.back().push_back(score_of_int<TypeParam>(static_cast<int>(random() % 41) - 20));
    }
  }
  for (const int64_t amount : {1, 400'000, 999'999}) {
    const auto kept = tensors.remove(amount);
    EXPECT_EQ(kept, tensors.remove_by_sorting(amount));
    for (const int count : {2, 3, 7}) EXPECT_EQ(tensors.remove(amount, threads(count)), kept);
  }
}

TYPED_TEST(Smallest, RefusesWhatIsNotLeft) {
  Tensors<TypeParam> tensors;
  tensors.scores = {{score_of_int<TypeParam>(1), score_of_int<TypeParam>(2)}};
  tensors.left = {{1, 0}};
  for (const auto& [amount, part] : {std::pair(int64_t{-1}, "amount: expected at least 0, got -1"),
                                     std::pair(int64_t{2}, "entries that are left, 1, got 2")}) {
    try {
      tensors.remove(amount);
      ADD_FAILURE() << amount;
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }
  EXPECT_EQ((Tensors<TypeParam>{}.remove(0)), (std::vector<std::vector<char>>{}));
}

TEST(SmallestExtremes, ZerosOfBothSignsAreEqualAndNaNStays) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  Tensors<float> tensors;
  tensors.scores = {{-0.0f, 0.0f, nan, -infinity, 1e-45f, -nan, 3e38f}};
  EXPECT_EQ(tensors.remove(1), (std::vector<std::vector<char>>{{1, 0, 1, 1, 1, 1, 1}}));
  EXPECT_EQ(tensors.remove(3), (std::vector<std::vector<char>>{{0, 0, 1, 1, 0, 1, 1}}));
  EXPECT_EQ(tensors.remove(5), (std::vector<std::vector<char>>{{0, 0, 1, 0, 0, 1, 0}}));
  Tensors<int64_t> integers;
  integers.scores = {{std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max(), -1}};
  EXPECT_EQ(integers.remove(2), (std::vector<std::vector<char>>{{1, 0, 0}}));
}

/// torch.topk and kthvalue stop at 2^31 entries. Here the same 64 million are named 33 times.
TEST(SmallestExtremes, MoreEntriesThan32BitsCount) {
  constexpr int64_t kSize = int64_t{1} << 26, kParts = 33;
  static_assert(kSize * kParts > int64_t{1} << 31);
  std::vector<Bits16> scores(kSize);
  for (int64_t i = 0; i < kSize; ++i) scores[static_cast<size_t>(i)].bits = static_cast<uint16_t>(i % 4);
  std::vector<char> kept(kSize, 2);
  std::vector<Part<Bits16>> parts(kParts, {scores.data(), nullptr, kSize, nullptr});
  parts.back().kept = reinterpret_cast<bool*>(kept.data());
  // All of magnitude 0, 1 and 2, and of 3 the last 5: they lie in the last part.
  remove_smallest<Bits16>(parts, kParts * (kSize / 4 * 3) + 5, threads(2));
  for (int64_t i = 0; i < kSize; ++i) {
    ASSERT_EQ(kept[static_cast<size_t>(i)], i % 4 == 3 && i < kSize - 20) << i;
  }
}

// Large enough for a sample: drawn scores, few values (where the sample tells too little), all equal, sorted, and masks.
TEST(Smallest, ManyEntriesEqualTheDefinition) {
  constexpr int64_t kSize = (1 << 21) + 77;  // in each of two parts, and no whole chunks
  std::mt19937_64 random(11);
  std::normal_distribution<float> normal;
  const std::vector<std::pair<const char*, std::function<float(int64_t)>>> kinds = {
      {"drawn", [&](int64_t) { return normal(random); }},
      {"few values", [&](int64_t) { return static_cast<float>(random() % 5); }},
      {"some ties", [&](int64_t) { return static_cast<float>(random() % 3000); }},
      {"equal", [](int64_t) { return 1.0f; }},
      {"sorted", [](int64_t i) { return static_cast<float>(i) * 1e-3f; }},
      {"periodic", [](int64_t i) { return static_cast<float>(i % 4096); }},
      {"NaN", [&](int64_t i) { return i % 3 == 0 ? std::numeric_limits<float>::quiet_NaN() : normal(random); }}};
  for (const auto& [name, draw] : kinds) {
    for (const bool masked : {false, true}) {
      std::vector<std::vector<float>> scores(2, std::vector<float>(kSize));
      std::vector<std::vector<char>> left(2, std::vector<char>(kSize, 1)), kept(2, std::vector<char>(kSize, 2));
      for (int64_t i = 0; i < 2 * kSize; ++i) {
        scores[static_cast<size_t>(i % 2)][static_cast<size_t>(i / 2)] = draw(i);
        if (masked) left[static_cast<size_t>(i % 2)][static_cast<size_t>(i / 2)] = random() % 3 != 0;
      }
      std::vector<uint32_t> keys;
      std::vector<Part<float>> parts;
      for (size_t p = 0; p < 2; ++p) {
        parts.push_back({scores[p].data(), masked ? reinterpret_cast<const bool*>(left[p].data()) : nullptr, kSize,
                         reinterpret_cast<bool*>(kept[p].data())});
        for (size_t i = 0; i < kSize; ++i) {
          if (left[p][i] != 0) keys.push_back(magnitude(scores[p][i]));
        }
      }
      for (const double share : {1e-6, 0.5, 1.0}) {
        const auto amount = std::max<int64_t>(1, static_cast<int64_t>(share * static_cast<double>(keys.size())));
        remove_smallest<float>(parts, amount, threads(share < 0.4 ? 1 : 2));
        std::nth_element(keys.begin(), keys.begin() + (amount - 1), keys.end());
        const uint32_t cut = keys[static_cast<size_t>(amount - 1)];
        int64_t ties_kept = std::count(keys.begin() + amount, keys.end(), cut), wrong = 0;
        for (size_t p = 0; p < 2; ++p) {
          for (size_t i = 0; i < kSize; ++i) {
            const uint32_t key = magnitude(scores[p][i]);
            const bool there = left[p][i] != 0;
            const bool tied = there && key == cut && ties_kept-- > 0;  // the first stay
            wrong += (kept[p][i] != 0) != ((there && key > cut) || tied);
          }
        }
        EXPECT_EQ(wrong, 0) << name << (masked ? ", masked, " : ", ") << share;
      }
    }
  }
}

}  // namespace
}  // namespace jouleprune::select
