// Ops on units of weights through the dispatcher: dtypes, strides, masks, errors. Their algorithms: tests/cpp/select.
#include <algorithm>
#include <limits>
#include <vector>

#include "op_testing.h"

namespace jouleprune::testing {
namespace {

at::Tensor bools(at::IntArrayRef size, double share = 0.7) { return at::rand(size).lt(share); }

TEST(MaskSmallest, EqualsASortOfEverything) {
  for (const auto dtype : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kLong, at::kInt}) {
    std::vector<at::Tensor> scores, left;
    for (const Shape& size : {Shape{7, 5}, Shape{0, 3}, Shape{4, 3, 2}}) {
      scores.push_back(at::randperm(at::empty(size).numel(), at::kLong).view(size).mul(2).sub(20).to(dtype));
      left.push_back(bools(size));
    }
    scores[2] = scores[2].add(1);  // odd: no ties between the two
    scores[0] = scores[0].t();
    left[0] = left[0].t();
    for (const int64_t amount : {0, 1, 9, 30}) {
      const auto kept = mask_smallest(scores, amount, left);
      int64_t removed = 0;
      double largest_removed = -1, smallest_kept = std::numeric_limits<double>::infinity();
      for (size_t i = 0; i < scores.size(); ++i) {
        ASSERT_EQ(kept[i].sizes(), scores[i].sizes());
        EXPECT_FALSE(kept[i].logical_and(left[i].logical_not()).any().item<bool>());
        const auto magnitudes = scores[i].abs().to(at::kDouble);
        const auto gone = magnitudes.masked_select(left[i].logical_and(kept[i].logical_not()));
        const auto stay = magnitudes.masked_select(kept[i]);
        removed += gone.numel();
        if (gone.numel() > 0) largest_removed = std::max(largest_removed, gone.max().item<double>());
        if (stay.numel() > 0) smallest_kept = std::min(smallest_kept, stay.min().item<double>());
      }
      EXPECT_EQ(removed, amount);
      EXPECT_LE(largest_removed, smallest_kept);
    }
  }
}

TEST(MaskSmallest, ComparesSeveralDtypesAsTorchPromotesThem) {
  const auto half = at::tensor({3.0, -1.0}).to(at::kHalf);
  const auto kept = mask_smallest({half, at::tensor({2.5, 0.5}, at::kDouble), at::tensor({1, -4})}, 3);
  EXPECT_TRUE(kept[0].equal(at::tensor({1, 0}).to(at::kBool)));
  EXPECT_TRUE(kept[1].equal(at::tensor({1, 0}).to(at::kBool)));
  EXPECT_TRUE(kept[2].equal(at::tensor({0, 1}).to(at::kBool)));
  EXPECT_TRUE(mask_smallest({}, 0).empty());
}

TEST(MaskNOfM, GroupsRunAlongTheDimension) {
  const auto weight = at::randn({6, 9, 2});
  for (const int64_t dim : {0, 1, -1}) {
    const auto kept = mask_n_of_m(weight, 1, 3, dim);
    const auto lines = kept.movedim(dim, -1);
    for (int64_t begin = 0; begin < lines.size(-1); begin += 3) {
      const auto group = lines.slice(-1, begin, std::min<int64_t>(begin + 3, lines.size(-1)));
      EXPECT_TRUE(group.sum(-1).eq(1).all().item<bool>());
      const auto values = weight.movedim(dim, -1).abs().slice(-1, begin, begin + 3);
      EXPECT_TRUE((values * group).amax(-1).equal(values.amax(-1)));
    }
  }
  const auto left = bools({6, 9, 2});
  EXPECT_TRUE(mask_n_of_m(weight.transpose(0, 2), 3, 3, 1, left.transpose(0, 2)).equal(left.transpose(0, 2)));
}

TEST(UnitNorms, MasksOfUnitsBecomeMasksOfWeights) {
  const auto weight = at::randn({10, 3, 2, 2}), left = bools({10, 3, 2, 2});
  const auto [norms, units] = unit_norms(weight, {4, 5}, 2, left);
  ASSERT_EQ(norms.sizes(), (at::IntArrayRef{3, 3}));
  const auto block = weight.mul(left).view({10, 12}).slice(0, 8, 10).slice(1, 10, 12).to(at::kDouble);
  EXPECT_NEAR(norms[2][2].item<double>(), block.square().mean().sqrt().item<double>(), 1e-12);
  EXPECT_EQ(units[2][2].item<bool>(), left.view({10, 12}).slice(0, 8, 10).slice(1, 10, 12).any().item<bool>());
  const auto kept = mask_smallest({norms}, 4, {units})[0];
  const auto mask = spread_units(kept, weight.sizes(), {4, 5}, left);
  const auto spread = kept.repeat_interleave(4, 0).slice(0, 0, 10).repeat_interleave(5, 1).slice(1, 0, 12);
  EXPECT_TRUE(mask.equal(spread.reshape(weight.sizes()).logical_and(left)));
  EXPECT_TRUE(std::get<0>(unit_norms(weight.to(at::kBFloat16), {1 << 30, 1 << 30}, 1)).sizes().equals({1, 1}));
}

TEST(UnitOps, NameWhatIsWrong) {
  const auto weight = at::randn({4, 6});
  const auto mask = at::ones({4, 5}, at::kBool);
  expect_error<c10::ValueError>("mask_smallest: amount: expected at most the entries that are left, 24, got 25",
                                [&] { mask_smallest({weight}, 25); });
  expect_error<c10::ValueError>("mask_smallest: left: expected none or 1 tensors as scores, got 2",
                                [&] { mask_smallest({weight}, 1, {mask, mask}); });
  expect_error<c10::ValueError>("mask_smallest: left[0]: expected the shape of the scores, [4, 6], got [4, 5]",
                                [&] { mask_smallest({weight}, 1, {mask}); });
  expect_error<c10::TypeError>("mask_smallest: scores[0]: expected real numbers",
                               [&] { mask_smallest({weight.to(at::kComplexFloat)}, 1); });
  expect_error<c10::ValueError>("mask_n_of_m: n, m: expected 0 <= n <= m", [&] { mask_n_of_m(weight, 3, 2, 1); });
  expect_error<c10::IndexError>("mask_n_of_m: dim: expected a dimension in [-2, 1], got 2",
                               [&] { mask_n_of_m(weight, 2, 4, 2); });
  expect_error<c10::ValueError>("unit_norms: norm: expected a number above 0", [&] { unit_norms(weight, {2, 2}, 0); });
  expect_error<c10::ValueError>("unit_norms: block_size: expected two sizes", [&] { unit_norms(weight, {2, 0}, 1); });
  expect_error<c10::ValueError>("spread_units: units: expected [2, 2]",
                                [&] { spread_units(mask, {4, 6}, {2, 3}); });
}

}  // namespace
}  // namespace jouleprune::testing
