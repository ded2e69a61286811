// Which lane holds what: the maps of operands, and the emulated arithmetic on them, against brute force.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <set>
#include <utility>

#include "cuda/values.h"
#include "simt/fragments.h"
#include "simt/host/warp_math.h"

namespace jouleprune::simt::host {
namespace {

template <class Map>
void expect_bijection(const Map& map, int elements, int rows, int columns) {
  std::set<std::pair<int, int>> places;
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int i = 0; i < elements; ++i) {
      const auto p = map(lane, i);
      EXPECT_TRUE(p.row >= 0 && p.row < rows && p.column >= 0 && p.column < columns);
      places.emplace(p.row, p.column);
    }
  }
  EXPECT_EQ(places.size(), static_cast<size_t>(rows * columns));
  EXPECT_EQ(kLanes * elements, rows * columns);
}

TEST(Fragments, EachElementHasOneOwner) {
  expect_bijection(place_in_a, 8, 16, 16);
  expect_bijection(place_in_b, 4, 16, 8);
  expect_bijection(place_in_b, 8, 32, 8);
  expect_bijection(place_in_sums, 4, 16, 8);
  expect_bijection(place_in_matrix, 2, 8, 8);
  for (int selector = 0; selector < 2; ++selector) {
    std::set<std::pair<int, int>> bits;
    for (int row = 0; row < 16; ++row) {
      for (int chunk = 0; chunk < 8; ++chunk) {
        const auto at = place_of_metadata(row, chunk, selector);
        EXPECT_EQ(at.lane % 4 / 2, selector);  // the instruction reads two lanes of each four
        bits.emplace(at.lane, at.bit);
      }
    }
    EXPECT_EQ(bits.size(), 128u);
  }
}

// CuTe's layouts of the same operands (mma_traits_sm80.hpp), as offsets row + rows * column: strides of (lane % 4, lane
// / 4) and of the bits of i.
TEST(Fragments, AgreeWithCute) {
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int i = 0; i < 8; ++i) {
      const auto p = place_in_a(lane, i);
      EXPECT_EQ(p.row + 16 * p.column, 32 * (lane % 4) + lane / 4 + 16 * (i & 1) + 8 * (i >> 1 & 1) + 128 * (i >> 2));
    }
    for (int i = 0; i < 4; ++i) {
      const auto b = place_in_b(lane, i), c = place_in_sums(lane, i);
      EXPECT_EQ(b.column + 8 * b.row, 16 * (lane % 4) + lane / 4 + 8 * (i & 1) + 64 * (i >> 1));
      EXPECT_EQ(c.row + 16 * c.column, 32 * (lane % 4) + lane / 4 + 16 * (i & 1) + 8 * (i >> 1));
    }
  }
}

TEST(WarpMath, SparseProductIsThatOfTheExpandedMatrix) {
  std::mt19937_64 random(2);
  for (int selector = 0; selector < 2; ++selector) {
    double a[16][32] = {}, b[32][8];
    Lanes<SparseIn> in{};
    const auto kept = cuda::random_values<BFloat16>(random, 16 * 16),
               right = cuda::random_values<BFloat16>(random, 32 * 8);
    for (int row = 0; row < 16; ++row) {
      for (int chunk = 0; chunk < 8; ++chunk) {
        const int first = static_cast<int>(random() % 3),
                  second = first + 1 + static_cast<int>(random() % static_cast<uint64_t>(3 - first));
        const auto at = place_of_metadata(row, chunk, selector);
        in[static_cast<size_t>(at.lane)].metadata |= static_cast<uint32_t>(first | second << 2) << at.bit;
        a[row][4 * chunk + first] = widen(kept[row * 16 + 2 * chunk]);
        a[row][4 * chunk + second] = widen(kept[row * 16 + 2 * chunk + 1]);
      }
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      for (int i = 0; i < 8; ++i) {
        const auto p = place_in_a(lane, i), q = place_in_b(lane, i);
        auto& mine = in[static_cast<size_t>(lane)];
        mine.a.r[i / 2] |= static_cast<uint32_t>(kept[p.row * 16 + p.column].bits) << (16 * (i & 1));
        mine.b.r[i / 2] |= static_cast<uint32_t>(right[q.row * 8 + q.column].bits) << (16 * (i & 1));
        b[q.row][q.column] = widen(right[q.row * 8 + q.column]);
      }
    }
    Lanes<Sums> out;
    ASSERT_TRUE(multiply_sparse<BFloat16>(in, selector, out));
    for (int lane = 0; lane < kLanes; ++lane) {
      for (int i = 0; i < 4; ++i) {
        const auto p = place_in_sums(lane, i);
        double expected = 0;
        for (int k = 0; k < 32; ++k) {
          expected += a[p.row][k] * b[k][p.column];
        }
        EXPECT_NEAR(out[static_cast<size_t>(lane)].v[i], expected, 1e-5);
      }
    }
    in[place_of_metadata(3, 5, selector).lane].metadata |= 15u << place_of_metadata(3, 5, selector).bit;
    EXPECT_FALSE(multiply_sparse<BFloat16>(in, selector, out));
  }
}

TEST(WarpMath, TransposedMatrixTwiceIsItself) {
  std::mt19937 random(3);
  Lanes<uint32_t> matrix;
  for (auto& word : matrix) {
    word = random();
  }
  EXPECT_NE(transposed_matrix(matrix), matrix);
  EXPECT_EQ(transposed_matrix(transposed_matrix(matrix)), matrix);
}

}  // namespace
}  // namespace jouleprune::simt::host
