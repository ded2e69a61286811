// Convolutions with weights in blocks and vectors: the CUDA bodies in the emulator against sums in double; what they read
// and multiply; and that each of their barriers is needed.
#include <gtest/gtest.h>

#include <type_traits>

#include "cuda/conv_bsr_problem.h"
#include "cuda/mutants.h"
#include "cuda/sweep.h"

namespace jouleprune::cuda::conv {
namespace {

using simt::host::GlobalMemory;
using simt::host::Launcher;
using simt::host::Options;
using simt::host::Site;

// ConvShape: batch, in channels, height, width, out channels, (height, width), kernel, stride, padding, dilation.
// Odd first: one of everything, no image, no input channel, nothing kept; each of 1 x 1 with whole rows of chunks, with
// stride; padding beyond the kernel; then random ones.
std::vector<Case> cases(int64_t r, int64_t c) {
  std::vector<Case> all = {{{1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1}, 1, r, c, 1.0},
                           {{0, 2, 4, 4, 4, 0, 0, 3, 3, 1, 1, 1, 1, 1, 1}, 1, r, c},
                           {{2, 0, 4, 4, 4, 0, 0, 3, 3, 1, 1, 1, 1, 1, 1}, 1, r, c},
                           {{2, 3, 4, 4, 20, 0, 0, 3, 3, 1, 1, 1, 1, 1, 1}, 1, r, c, 0.0},
                           {{2, 3, 7, 9, 5, 0, 0, 3, 3, 1, 1, 1, 1, 1, 1}, 1, r, c},
                           {{2, 37, 5, 8, 33, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1}, 1, r, c},
                           {{1, 20, 3, 5, 17, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1}, 1, r, c},
                           {{1, 9, 9, 7, 18, 0, 0, 1, 1, 2, 2, 0, 0, 1, 1}, 1, r, c},
                           {{1, 2, 13, 14, 3, 0, 0, 5, 5, 2, 2, 3, 4, 1, 1}, 1, r, c},
                           {{1, 5, 2, 3, 4, 0, 0, 2, 2, 1, 1, 3, 3, 1, 1}, 1, r, c},
                           {{1, 4, 11, 16, static_cast<int32_t>(2 * r), 0, 0, 3, 1, 1, 1, 1, 0, 2, 1}, 2, r, c},
                           {{3, 6, 12, 12, static_cast<int32_t>(3 * r), 0, 0, 3, 3, 3, 3, 0, 0, 1, 1}, 3, r, c},
                           {{1, static_cast<int32_t>(2 * c + 3), 9, 17, static_cast<int32_t>(r), 0, 0, 3, 3, 1, 1, 1, 1, 1, 1}, 1, r, c}};
  std::mt19937_64 random(static_cast<uint64_t>(r * 100 + c));
  const auto from = [&](int64_t low, int64_t high) {
    return static_cast<int32_t>(std::uniform_int_distribution<int64_t>(low, high)(random));
  };
  while (all.size() < 28) {
    const int32_t groups = from(1, 3);
    const auto rows = static_cast<int32_t>(groups == 1 ? from(1, r + 20) : groups * from(1, 2) * r);
    Case one{{from(1, 2), groups * from(1, c + 4), from(1, 10), from(1, 19), rows, 0, 0, from(1, 4), from(1, 4), from(1, 3),
              from(1, 3), from(0, 3), from(0, 3), from(1, 2), from(1, 2)},
             groups, r, c, 0.1 * from(1, 10)};
    const auto& s = one.conv;
    if (s.padded_height() > s.dilation_h * (s.kernel_h - 1) && s.padded_width() > s.dilation_w * (s.kernel_w - 1)) {
      all.push_back(one);
    }
  }
  return all;
}

template <class T>
void check(const Case& c, Op op, const Options& options, size_t turn) {
  const BsrProblem<T> problem(c, 7 + turn);
  const bool bias = op == Op::kForward && turn % 2 == 0, residual = op == Op::kForward && turn % 3 == 0;
  const Epilogue epilogue{bias ? problem.bias.data() : nullptr, residual ? problem.residual.data() : nullptr,
                          op == Op::kForward ? static_cast<Activation>(turn % 4) : Activation::kNone};
  GlobalMemory memory;
  Launcher launcher(memory, options);
  const auto y = run_op(problem, op, epilogue, launcher);
  ASSERT_EQ(launcher.problems(), "") << c.text();
  ASSERT_EQ(difference(problem, op, epilogue, y), "") << "schedule " << static_cast<int>(options.schedule);
}

// All cases for half precision, every seventh for the others.
template <class T>
void sweep(int64_t r, int64_t c) {
  const auto all = cases(r, c);
  size_t turn = static_cast<size_t>(r + c);
  for (size_t i = 0; i < all.size(); i += (std::is_same_v<T, simt::Half> ? 1 : 7) * thinning()) {
    for (const auto op : {Op::kForward, Op::kInput, Op::kBlocks}) {
      for (const auto& options : schedules(turn++)) {
        check<T>(all[i], op, options, turn);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

template <class T>
class ConvBsrBodies : public testing::Test {};
using Types = testing::Types<simt::Half, simt::BFloat16, float, double>;
TYPED_TEST_SUITE(ConvBsrBodies, Types);

TYPED_TEST(ConvBsrBodies, Vectors16) { sweep<TypeParam>(16, 1); }
TYPED_TEST(ConvBsrBodies, Vectors32) { sweep<TypeParam>(32, 1); }
TYPED_TEST(ConvBsrBodies, Vectors64) { sweep<TypeParam>(64, 1); }
TYPED_TEST(ConvBsrBodies, Blocks16) { sweep<TypeParam>(16, 16); }
TYPED_TEST(ConvBsrBodies, Blocks32) { sweep<TypeParam>(32, 32); }
TYPED_TEST(ConvBsrBodies, Blocks64) { sweep<TypeParam>(64, 64); }
TYPED_TEST(ConvBsrBodies, Blocks48x16) { sweep<TypeParam>(48, 16); }
TYPED_TEST(ConvBsrBodies, Blocks4x3) { sweep<TypeParam>(4, 3); }

struct Counted {
  simt::host::Counters counters;
  uint64_t value_bytes;
};

Counted count(const Case& c, Op op) {
  const BsrProblem<simt::Half> problem(c, 5);
  GlobalMemory memory;
  Options options;
  options.collect_requests = true;
  Launcher launcher(memory, options);
  run_op(problem, op, {}, launcher);
  EXPECT_EQ(launcher.problems(), "");
  return {launcher.report.counters, problem.values.bytes()};
}

// 128 pixels: values are read once, what is read is whole sectors, operands come without bank conflicts.
TEST(ConvBsrCounters, ReadOnceCoalescedWithoutConflicts) {
  const ConvShape conv{1, 128, 8, 16, 128, 0, 0, 3, 3, 1, 1, 1, 1, 1, 1}, pointwise{2, 128, 8, 8, 128, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1};
  for (const auto& shape : {conv, pointwise}) {
    for (const auto& [r, c] : {std::pair{16, 1}, {32, 1}, {16, 16}, {32, 32}, {64, 64}}) {
      for (const auto op : {Op::kForward, Op::kInput}) {
        const auto [counters, value_bytes] = count({shape, 1, r, c, 0.5}, op);
        EXPECT_LE(static_cast<double>(counters.bytes_read.at("values")), 1.02 * static_cast<double>(value_bytes)) << r << c;
        EXPECT_EQ(counters.sectors_read.at("values"), counters.sectors_needed.at("values")) << r << "x" << c;
        const auto* span = shape.taps() > 1 ? "planes" : op == Op::kForward ? "input" : "dy";
        EXPECT_EQ(counters.sectors_read.at(span), counters.sectors_needed.at(span)) << span;
        EXPECT_EQ(counters.conflicts.at("ldmatrix"), 0u);
        EXPECT_EQ(counters.conflicts.at("cp.async"), 0u);
      }
      const auto counters = count({shape, 1, r, c, 0.5}, Op::kBlocks).counters;
      EXPECT_EQ(counters.conflicts.at("ldmatrix"), 0u);
      EXPECT_EQ(counters.conflicts.at("cp.async"), 0u);
    }
  }
}

TEST(ConvBsrCounters, AsManyProductsAsTheTilesHave) {
  // 4 strips of 16 outputs, 9 taps of 64 channels in slabs of 16, 128 pixels in tiles of 8.
  const Case blocks{{1, 64, 8, 16, 64, 0, 0, 3, 3, 1, 1, 1, 1, 1, 1}, 1, 64, 64, 1.0};
  EXPECT_EQ(count(blocks, Op::kForward).counters.mma, 4u * 36u * 16u);
  EXPECT_EQ(count(blocks, Op::kInput).counters.mma, 4u * 36u * 16u);
  // Vectors of one tap: 64 / 16 slabs per strip; half of the vectors, half of the products.
  EXPECT_EQ(count({{2, 64, 8, 8, 16, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1}, 1, 16, 1, 1.0}, Op::kForward).counters.mma, 4u * 16u);
}

template <class T>
std::string run(const Case& c, Op op, const Options& options, std::set<Site>& sites) {
  const BsrProblem<T> problem(c, 3);
  GlobalMemory memory;
  Launcher launcher(memory, options);
  const auto y = run_op(problem, op, {}, launcher);
  sites.insert(launcher.report.barriers.begin(), launcher.report.barriers.end());
  return launcher.problems() + difference(problem, op, {}, y);
}

// Two shapes each: the last step of a pipeline ends in its first stage, which the output then overwrites, and in another.
template <class T>
void expect_needed(const Case& one, const Case& other, Op op) {
  expect_every_barrier_needed([&](const Options& options, auto& sites) {
    return run<T>(one, op, options, sites) + run<T>(other, op, options, sites);
  });
}

TEST(ConvBsrMutants, ForwardVectors) {
  expect_needed<simt::Half>({{1, 13, 4, 9, 16, 0, 0, 3, 3, 1, 1, 1, 1, 1, 1}, 1, 16, 1, 1.0},
                            {{1, 20, 2, 5, 16, 0, 0, 3, 3, 1, 1, 1, 1, 1, 1}, 1, 16, 1, 0.9}, Op::kForward);
}
TEST(ConvBsrMutants, ForwardBlocks) {
  expect_needed<simt::BFloat16>({{1, 64, 9, 8, 64, 0, 0, 5, 1, 1, 1, 0, 0, 1, 1}, 1, 64, 64, 1.0},
                                {{1, 64, 9, 8, 64, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1}, 1, 64, 64, 1.0}, Op::kForward);
}
TEST(ConvBsrMutants, Input) {
  expect_needed<simt::Half>({{1, 16, 5, 8, 110, 0, 0, 1, 2, 1, 1, 0, 0, 1, 1}, 1, 16, 1, 1.0},
                            {{1, 32, 5, 8, 128, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1}, 1, 32, 32, 1.0}, Op::kInput);
}
TEST(ConvBsrMutants, Blocks) {
  expect_needed<simt::Half>({{1, 8, 42, 8, 16, 0, 0, 3, 3, 1, 1, 1, 1, 1, 1}, 1, 16, 1, 0.9},
                            {{1, 64, 32, 8, 32, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1}, 1, 32, 32, 1.0}, Op::kBlocks);
}

TEST(ConvBsrFits, WhatTensorsAndGridsReach) {
  const auto fits_with = [](ConvShape s, int32_t groups, int64_t r) { return fits(BsrShape{completed(s), groups}, r); };
  const ConvShape layer{32, 64, 56, 56, 64, 0, 0, 3, 3, 1, 1, 1, 1, 1, 1};
  EXPECT_TRUE(fits_with(layer, 1, 16));
  EXPECT_TRUE(fits_with(layer, 4, 16));
  EXPECT_FALSE(fits_with(layer, 8, 16));  // a block row would lie in two groups
  auto many = layer;
  many.batch = 3000;  // 9.4 x 10^6 pixels
  EXPECT_FALSE(fits_with(many, 1, 16));
}

}  // namespace
}  // namespace jouleprune::cuda::conv
