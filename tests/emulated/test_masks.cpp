// apply_mask_ through the dispatcher, with the CUDA kernel's body emulated.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <jouleprune/ops.h>

#include "emulated_backend.h"

namespace jouleprune {
namespace {

TEST(EmulatedApplyMask, ZeroesWhatTheBitsDoNotKeep) {
  for (const auto dtype : {at::kHalf, at::kFloat, at::kDouble, at::kByte, at::kComplexDouble}) {
    for (const int64_t count : {0, 1, 7, 8, 300}) {
      const auto mask = at::rand({count}) < 0.5;
      auto weight = at::randint(1, 9, {count}).to(dtype);
      const auto expected = at::where(mask, weight, at::zeros({}, weight.options()));
      const auto before = emulated::runs();
      apply_mask_(weight, pack_mask(mask));
      EXPECT_TRUE(at::equal(weight, expected)) << dtype << " " << count;
      EXPECT_EQ(emulated::runs(), before + 1);
    }
  }
}

TEST(EmulatedApplyMask, OtherStridesGoByTorch) {
  const auto mask = at::rand({6, 5}) < 0.5;
  auto weight = at::randn({5, 6}).t();
  const auto expected = at::where(mask, weight, at::zeros({}));
  apply_mask_(weight, pack_mask(mask));
  EXPECT_TRUE(at::equal(weight, expected));
}

/// What sorting all magnitudes stably removes.
std::vector<at::Tensor> by_sorting(const std::vector<at::Tensor>& scores, const std::vector<at::Tensor>& left, int64_t amount) {
  std::vector<at::Tensor> flat, flat_left;
  for (const auto& each : scores) flat.push_back(each.to(at::kDouble).abs().flatten());
  for (size_t i = 0; i < scores.size(); ++i) {
    flat_left.push_back((left.empty() ? at::ones_like(scores[i], at::kBool) : left[i]).flatten());
  }
  const auto all = at::cat(flat), remain = at::cat(flat_left);
  auto kept = remain.clone();
  const auto places = remain.nonzero().flatten();
  const auto order = std::get<1>(at::sort(all.index_select(0, places), /*stable=*/true, 0, false));
  kept.index_fill_(0, places.index_select(0, order.slice(0, 0, amount)), false);
  std::vector<at::Tensor> result;
  int64_t begin = 0;
  for (const auto& each : scores) {
    result.push_back(kept.slice(0, begin, begin + each.numel()).view(each.sizes()));
    begin += each.numel();
  }
  return result;
}

TEST(EmulatedMaskSmallest, RemovesWhatSortingRemoves) {
  at::manual_seed(3);
  for (const auto dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    for (const bool masked : {false, true}) {
      std::vector<at::Tensor> scores, left;
      for (const auto& size : {std::vector<int64_t>{7, 300}, {0}, {5}, {2, 3, 4}}) {
        scores.push_back((at::randn(size) * 4).round().to(dtype));  // many ties, zeros of both signs
        if (masked) left.push_back(at::rand(size) < 0.6);
      }
      int64_t all = 0;
      for (size_t i = 0; i < scores.size(); ++i) all += masked ? left[i].sum().item<int64_t>() : scores[i].numel();
      for (const int64_t amount : {int64_t{0}, int64_t{1}, all / 2, all - 1, all}) {
        const auto before = emulated::runs();
        const auto kept = mask_smallest(scores, amount, left);
        EXPECT_EQ(emulated::runs(), before + (amount == all ? 0 : 1));
        const auto expected = by_sorting(scores, left, amount);
        for (size_t i = 0; i < kept.size(); ++i) EXPECT_TRUE(at::equal(kept[i], expected[i])) << dtype << " " << amount << " " << i;
      }
      EXPECT_THROW(mask_smallest(scores, all + 1, left), c10::ValueError);
      EXPECT_THROW(mask_smallest(scores, -1, left), c10::ValueError);
    }
  }
}

TEST(EmulatedMaskSmallest, WiderScoresAreForTheHost) {
  const std::vector<at::Tensor> scores{at::tensor({3.0, -1.0, 2.0}, at::kDouble)};
  const auto before = emulated::runs();
  EXPECT_TRUE(at::equal(mask_smallest(scores, 1).front(), at::tensor({1, 0, 1}).to(at::kBool)));
  EXPECT_EQ(emulated::runs(), before);
}

}  // namespace
}  // namespace jouleprune
