// unit_norms, spread_units, mask_n_of_m through the dispatcher, with the CUDA kernels' bodies emulated.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <jouleprune/ops.h>
#include <jouleprune/ops_criteria.h>

#include <limits>

#include "emulated_backend.h"

namespace jouleprune {
namespace {

/// A mean over the entries of each unit inside the weight, by padding with zeros.
at::Tensor norms_by_torch(const at::Tensor& scores, int64_t r, int64_t c, double p) {
  const int64_t rows = scores.size(0), cols = scores.size(1), down = (rows + r - 1) / r, across = (cols + c - 1) / c;
  const auto units = [&](const at::Tensor& matrix) {
    return at::constant_pad_nd(matrix.to(at::kDouble), {0, across * c - cols, 0, down * r - rows}).view({down, r, across, c});
  };
  if (std::isinf(p)) return units(scores.abs()).amax(at::IntArrayRef({1, 3}));
  const auto sums = units(scores.to(at::kDouble).abs().pow(p)).sum(at::IntArrayRef({1, 3}));
  return (sums / units(at::ones_like(scores)).sum(at::IntArrayRef({1, 3}))).pow(1 / p);
}

TEST(EmulatedUnits, NormsAreMeansOverTheEntriesInside) {
  at::manual_seed(1);
  for (const auto dtype : {at::kHalf, at::kBFloat16, at::kFloat, at::kDouble, at::kLong}) {
    for (const auto& [r, c] : {std::pair<int64_t, int64_t>{1, 1}, {16, 1}, {4, 3}, {1, 1000}}) {
      for (const double p : {1.0, 2.0, 0.5, std::numeric_limits<double>::infinity()}) {
        const auto scores = (at::randn({33, 70}) * 3).to(dtype);
        const auto before = emulated::runs();
        const auto [norms, left] = unit_norms(scores, {r, c}, p);
        EXPECT_EQ(emulated::runs(), before + 1);
        EXPECT_TRUE(at::allclose(norms, norms_by_torch(scores, r, std::min<int64_t>(c, 70), p), 1e-12, 1e-12)) << dtype << " " << r << " " << p;
        EXPECT_TRUE(left.all().item<bool>());
      }
    }
  }
  EXPECT_THROW(unit_norms(at::ones({2, 2}), {1, 1}, 0), c10::ValueError);
  EXPECT_THROW(unit_norms(at::ones({2, 2}), {1, 0}, 1), c10::ValueError);
}

TEST(EmulatedUnits, WhatIsNotLeftDoesNotCount) {
  const auto scores = at::tensor({1., 2., 3., 4., 5., 6.}).view({2, 3});
  const auto left = at::tensor({1, 0, 0, 1, 1, 0}).to(at::kBool).view({2, 3});
  const auto [norms, units_left] = unit_norms(scores, {2, 1}, 1, left);
  EXPECT_TRUE(at::allclose(norms, at::tensor({2.5, 2.5, 0.0}, at::kDouble).view({1, 3})));
  EXPECT_TRUE(at::equal(units_left, at::tensor({1, 1, 0}).to(at::kBool).view({1, 3})));
}

TEST(EmulatedUnits, CriteriaRunOverTheKernels) {
  at::manual_seed(2);
  const auto weight = at::randn({8, 4, 3, 3});
  const auto before = emulated::runs();
  const auto scores = norm_importance(weight, {1, 4}, 2);  // all channels at one tap
  EXPECT_GT(emulated::runs(), before);
  EXPECT_TRUE(at::allclose(scores, weight.square().mean(1, true).sqrt().expand_as(weight), 1e-6, 1e-6));
}

TEST(EmulatedUnits, MasksOfUnitsBecomeMasksOfWeights) {
  const auto units = at::tensor({1, 0, 0, 1}).to(at::kBool).view({2, 2});
  const auto expected = at::tensor({1, 1, 0, 1, 1, 0, 0, 0, 1}).to(at::kBool).view({3, 3});
  const auto before = emulated::runs();
  EXPECT_TRUE(at::equal(spread_units(units, {3, 3}, {2, 2}), expected));
  const auto left = at::tensor({0, 1, 1, 1, 1, 1, 1, 1, 1}).to(at::kBool).view({3, 3});
  EXPECT_TRUE(at::equal(spread_units(units, {3, 3}, {2, 2}, left), expected & left));
  EXPECT_EQ(emulated::runs(), before + 2);
  EXPECT_THROW(spread_units(units, {5, 3}, {2, 2}), c10::ValueError);
}

TEST(EmulatedUnits, NOfMAlongAnyDimension) {
  at::manual_seed(3);
  for (const auto dtype : {at::kHalf, at::kBFloat16, at::kFloat}) {
    const auto scores = at::randn({8, 12, 4}).to(dtype);
    for (const int64_t dim : {-1, 0, 1}) {
      const auto before = emulated::runs();
      const auto kept = mask_n_of_m(scores, 2, 4, dim);
      EXPECT_EQ(emulated::runs(), before + 1);
      const auto groups = scores.abs().to(at::kFloat).movedim(dim, -1).reshape({-1, 4});
      const auto ranks = groups.argsort(true, -1, true).argsort(true, -1, false);
      EXPECT_TRUE(at::equal(kept.movedim(dim, -1).reshape({-1, 4}), ranks < 2)) << dtype << " " << dim;
    }
  }
  const auto before = emulated::runs();
  mask_n_of_m(at::randn({4, 200}), 3, 100, 1);            // too many to compare each with each
  mask_n_of_m(at::randn({4, 8}, at::kDouble), 2, 4, 1);   // wider than a key
  EXPECT_EQ(emulated::runs(), before);
  EXPECT_THROW(mask_n_of_m(at::randn({4, 8}), 5, 4, 1), c10::ValueError);
}

}  // namespace
}  // namespace jouleprune
