#include <limits>

#include "op_testing.h"

namespace jouleprune::testing {
namespace {

TEST(PackCsr, RoundTripInEveryDtype) {
  for (const auto dtype : {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf}) {
    for (const auto& size : {Shape{0, 4}, Shape{4, 0}, Shape{1, 1}, Shape{17, 33}, Shape{6, 2, 3, 3}}) {
      const auto weight = sparse_weight(size, 0.4, dtype);
      const auto packed = pack(weight);
      const int64_t cols = weight.numel() == 0 ? size[1] : weight.numel() / size[0];
      EXPECT_TRUE(at::equal(unpack_csr(packed.values, packed.col_indices, packed.row_offsets, cols),
                            weight.reshape({size[0], cols})));
      EXPECT_EQ(packed.col_indices.scalar_type(), at::kInt);
      EXPECT_EQ(packed.values.scalar_type(), dtype);
    }
  }
}

TEST(PackCsr, ZerosNanAndMask) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto weight = at::tensor({-0.0f, nan, 0.0f, 2.0f}).reshape({2, 2}).requires_grad_();
  const auto packed = pack(weight);
  EXPECT_TRUE(at::equal(packed.col_indices, at::tensor({1, 1}, at::kInt)));
  EXPECT_TRUE(at::equal(packed.row_offsets, at::tensor({0, 1, 2}, at::kInt)));
  EXPECT_FALSE(packed.values.requires_grad());
  const auto mask = at::tensor({1, 0, 1, 0}, at::kLong).to(at::kBool).reshape({2, 2});
  const auto [values, col_indices, row_offsets, key] = pack_csr(weight, mask);
  EXPECT_TRUE(at::equal(values, at::tensor({-0.0f, 0.0f})));  // kept though zero
  EXPECT_TRUE(at::equal(col_indices, at::tensor({0, 0}, at::kInt)));
}

TEST(PackCsr, UnpackIsDifferentiable) {
  const auto weight = sparse_weight({5, 7}, 0.5, at::kDouble);
  auto packed = pack(weight);
  packed.values.requires_grad_();
  const auto grad = at::randn({5, 7}, at::kDouble);
  unpack_csr(packed.values, packed.col_indices, packed.row_offsets, 7).backward(grad);
  EXPECT_TRUE(at::equal(packed.values.grad(), grad.masked_select(weight.ne(0))));
}

TEST(PackCsr, NamesWhatIsWrong) {
  const auto weight = sparse_weight({4, 6}, 0.9);
  const auto p = pack(weight);
  expect_error<c10::ValueError>("pack_csr: weight: expected [rows, cols]", [] { pack_csr(at::randn({3})); });
  expect_error<c10::TypeError>("pack_csr: weight: expected float32", [] { pack_csr(at::zeros({3, 3}, at::kInt)); });
  expect_error<c10::TypeError>("pack_csr: mask: expected bool", [&] { pack_csr(weight, weight); });
  expect_error<c10::ValueError>("pack_csr: mask: expected the shape", [&] { pack_csr(weight, weight.t().ne(0)); });
  expect_error<c10::ValueError>("unpack_csr: unsound structure: col_indices",
                                [&] { unpack_csr(p.values, p.col_indices, p.row_offsets, 3); });
  expect_error<c10::ValueError>("unpack_csr: columns of the weight: expected 0 to",
                                [&] { unpack_csr(p.values, p.col_indices, p.row_offsets, -3); });
  expect_error<c10::ValueError>("prepack_csr: unsound structure",
                                [&] { prepack_csr(p.values, p.col_indices, p.row_offsets + 1, 6); });
}

}  // namespace
}  // namespace jouleprune::testing
