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

}  // namespace
}  // namespace jouleprune
