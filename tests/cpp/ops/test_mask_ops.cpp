#include <ATen/core/grad_mode.h>

#include "op_testing.h"

namespace jouleprune::testing {
namespace {

TEST(MaskOps, RoundTrip) {
  for (const auto& size : {Shape{}, Shape{0}, Shape{3, 0, 2}, Shape{7}, Shape{8}, Shape{5, 13}, Shape{300, 1001}}) {
    const auto mask = at::rand(size).lt(0.5);
    const auto bits = pack_mask(mask);
    EXPECT_EQ(bits.numel(), (mask.numel() + 7) / 8);
    EXPECT_TRUE(at::equal(unpack_mask(bits, size), mask));
  }
  const auto transposed = at::rand({5, 13}).lt(0.5).t();
  EXPECT_TRUE(at::equal(unpack_mask(pack_mask(transposed), at::IntArrayRef{13, 5}), transposed));
}

TEST(MaskOps, ApplyInEveryDtypeAndStride) {
  const auto mask = at::rand({9, 11}).lt(0.5);
  const auto bits = pack_mask(mask);
  for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf, at::kByte, at::kInt, at::kLong, at::kBool,
                           at::kComplexDouble}) {
    for (const auto& self : {at::ones({9, 11}, dtype), at::ones({11, 9}, dtype).t(), at::ones({9, 30}, dtype).slice(1, 2, 24, 2)}) {
      apply_mask_(self, bits);
      EXPECT_TRUE(at::equal(self, mask.to(dtype))) << dtype;
    }
  }
}

TEST(MaskOps, ApplyRemovesNanAndCountsAsAChange) {
  const auto parameter = at::full({4}, std::numeric_limits<double>::quiet_NaN()).requires_grad_();
  const auto bits = pack_mask(at::zeros({4}, at::kBool));
  expect_error<c10::Error>("apply_mask_: self requires grad", [&] { apply_mask_(parameter, bits); });
  const auto version = parameter._version();
  const at::NoGradGuard no_grad;
  apply_mask_(parameter, bits);
  EXPECT_TRUE(at::equal(parameter, at::zeros({4})));
  EXPECT_GT(parameter._version(), version);
}

TEST(MaskOps, NamesWhatIsWrong) {
  const auto bits = at::zeros({2}, at::kByte);
  expect_error<c10::TypeError>("pack_mask: mask: expected bool", [] { pack_mask(at::ones({3})); });
  expect_error<c10::TypeError>("unpack_mask: bits: expected uint8", [&] { unpack_mask(bits.to(at::kInt), at::IntArrayRef{9}); });
  expect_error<c10::ValueError>("unpack_mask: bits: expected [ceil(numel / 8) = 3] for 17 elements, got [2]",
                                [&] { unpack_mask(bits, at::IntArrayRef{17}); });
  expect_error<c10::ValueError>("unpack_mask: size: expected sizes of at least 0", [&] { unpack_mask(bits, at::IntArrayRef{-1}); });
  expect_error<c10::ValueError>("has too many elements",
                                [&] { unpack_mask(bits, at::IntArrayRef{int64_t{1} << 40, int64_t{1} << 40}); });
  expect_error<c10::ValueError>("apply_mask_: bits: expected [ceil(numel / 8) = 1]", [&] { apply_mask_(at::ones({3}), bits); });
}

}  // namespace
}  // namespace jouleprune::testing
