// Products with bsr weights: the CUDA bodies in the emulator against sums in double.
#include <gtest/gtest.h>

#include <type_traits>

#include "cuda/bsr_problem.h"
#include "cuda/sweep.h"

namespace jouleprune::cuda::bsr {
namespace {

using simt::host::GlobalMemory;
using simt::host::Launcher;
using simt::host::Options;

template <class T>
void check(const Shape& shape, Op op, const Options& options, Activation activation = Activation::kNone,
           bool bias = false, bool residual = false) {
  const Problem<T> problem(shape, 7 + static_cast<uint64_t>(shape.rows * 31 + shape.n));
  GlobalMemory memory;
  Launcher launcher(memory, options);
  const auto y = run_op(problem, op, activation, bias, residual, launcher);
  ASSERT_EQ(launcher.problems(), "") << shape.text();
  ASSERT_EQ(difference(problem, op, activation, bias, residual, y), "")
      << "schedule " << static_cast<int>(options.schedule);
}

// Odd first: no rows, no inputs, nothing kept, one of everything, sizes that no tile divides; then ordinary ones.
std::vector<Shape> shapes(int64_t r, int64_t c) {
  std::vector<Shape> all;
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{0, 5},
                                   {5, 0},
                                   {1, 1},
                                   {3, 17},
                                   {r, c},
                                   {r + 1, 3 * c + 1},
                                   {2 * r - 1, 100},
                                   {2 * r, 6 * c + 8},
                                   {100, 2 * c + 57}}) {
    for (const int64_t n : {0, 1, 3, 8, 9, 31, 40, 65, 130}) {
      all.push_back({rows, cols, r, c, n, n % 3 == 0 ? 1.0 : n % 3 == 1 ? 0.5 : 0.15});
    }
  }
  all.push_back({3 * r, 70, r, c, 20, 0.0});
  return all;
}

template <class T>
class BsrBodies : public testing::Test {};
using Types = testing::Types<simt::Half, simt::BFloat16, float, double>;
TYPED_TEST_SUITE(BsrBodies, Types);

// All shapes for half precision, a third of them for the others.
template <class T>
inline constexpr size_t kEvery = std::is_same_v<T, simt::Half> ? 1 : 3;

template <class T>
void sweep(int64_t r, int64_t c) {
  size_t turn = 0;
  const auto all = shapes(r, c);
  for (size_t i = 0; i < all.size(); i += kEvery<T> * thinning()) {
    const auto& shape = all[i];
    for (const auto op : {Op::kForward, Op::kInput, Op::kValues}) {
      for (const auto& options : schedules(turn++)) {
        const bool whole = turn % 2 == 0;
        check<T>(shape, op, options, static_cast<Activation>(turn % 4), whole, turn % 3 == 0);
        if (testing::Test::HasFatalFailure()) {
          return;
        }
      }
    }
  }
}

TYPED_TEST(BsrBodies, Vectors16) { sweep<TypeParam>(16, 1); }
TYPED_TEST(BsrBodies, Vectors32) { sweep<TypeParam>(32, 1); }
TYPED_TEST(BsrBodies, Blocks16) { sweep<TypeParam>(16, 16); }
TYPED_TEST(BsrBodies, Blocks32) { sweep<TypeParam>(32, 32); }
TYPED_TEST(BsrBodies, Blocks64) { sweep<TypeParam>(64, 64); }
TYPED_TEST(BsrBodies, Blocks48x16) { sweep<TypeParam>(48, 16); }
TYPED_TEST(BsrBodies, Blocks1x4) { sweep<TypeParam>(1, 4); }
TYPED_TEST(BsrBodies, Blocks4x4) { sweep<TypeParam>(4, 4); }
TYPED_TEST(BsrBodies, Blocks20x3) { sweep<TypeParam>(20, 3); }

}  // namespace
}  // namespace jouleprune::cuda::bsr
