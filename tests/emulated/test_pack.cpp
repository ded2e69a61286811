// pack_csr, pack_nm and their inverses through the dispatcher, with the CUDA kernels' bodies emulated: bit for bit the CPU's.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <jouleprune/ops.h>
#include <jouleprune/ops_nm.h>

#include "emulated_backend.h"
#include "formats/csr_pack.h"
#include "formats/nm.h"

namespace jouleprune {
namespace {

TEST(EmulatedPackCsr, IsThatOfTheCpu) {
  at::manual_seed(1);
  for (const auto dtype : {at::kHalf, at::kBFloat16, at::kFloat, at::kDouble}) {
    for (const auto& size : {std::vector<int64_t>{0, 5}, {5, 0}, {1, 1}, {33, 50}, {6, 3, 2, 2}}) {
      const auto weight = at::randn(size).to(dtype);
      const auto mask = at::rand(size) < 0.4;
      const auto before = emulated::runs();
      const auto [values, columns, offsets, key] = pack_csr(weight, mask);
      EXPECT_EQ(emulated::runs(), before + 2);
      const int64_t rows = size[0], cols = weight.numel() == 0 ? size[1] : weight.numel() / rows;
      const auto kept = mask.reshape({rows, cols}).contiguous();
      auto expected_offsets = at::empty({rows + 1}, at::kInt), expected_columns = at::empty({values.numel()}, at::kInt);
      const int64_t nnz = formats::csr_offsets(kept.const_data_ptr<bool>(), rows, cols, expected_offsets.mutable_data_ptr<int32_t>());
      ASSERT_EQ(nnz, values.numel());
      formats::csr_columns(kept.const_data_ptr<bool>(), rows, cols, expected_columns.mutable_data_ptr<int32_t>());
      EXPECT_TRUE(at::equal(offsets, expected_offsets));
      EXPECT_TRUE(at::equal(columns, expected_columns));
      EXPECT_TRUE(at::equal(values, weight.reshape({rows, cols}).masked_select(kept)));
      const auto words = formats::csr_key({rows, cols, nnz, columns.const_data_ptr<int32_t>(), offsets.const_data_ptr<int32_t>()});
      EXPECT_TRUE(at::equal(key, at::tensor({words[0], words[1]}, at::kLong)));
      EXPECT_TRUE(at::equal(unpack_csr(values, columns, offsets, cols), (weight * mask).reshape({rows, cols})));
    }
  }
}

TEST(EmulatedPackCsr, ZerosOfBothSignsGoNanStays) {
  const auto weight = at::tensor({0.0, -0.0, std::numeric_limits<double>::quiet_NaN(), 5.0}).view({2, 2});
  const auto [values, columns, offsets, key] = pack_csr(weight, std::nullopt);
  EXPECT_TRUE(at::equal(offsets, at::tensor({0, 0, 2}, at::kInt)));
  EXPECT_TRUE(at::equal(columns, at::tensor({0, 1}, at::kInt)));
}

TEST(EmulatedPackNm, IsThatOfTheCpu) {
  at::manual_seed(2);
  for (const auto dtype : {at::kHalf, at::kFloat, at::kDouble}) {
    for (const auto& [n, m] : {std::pair<int64_t, int64_t>{2, 4}, {1, 3}, {5, 32}}) {
      for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{0, 4}, {3, 0}, {5, 33}, {40, 64}}) {
        const auto weight = at::randn({rows, cols}).to(dtype);
        // At most n of a group: the first n places of random ones.
        const auto mask = (at::rand({rows, cols}) < 0.6) & (at::arange(cols).remainder(m) < n);
        const auto before = emulated::runs();
        const auto [values, indices, key] = pack_nm(weight, mask, n, m);
        EXPECT_EQ(emulated::runs(), before + 1);
        const formats::NmShape shape{rows, cols, n, m};
        auto expected = at::empty({rows, shape.kept()}, at::kByte);
        ASSERT_EQ(formats::nm_choose(shape, mask.const_data_ptr<bool>(), expected.mutable_data_ptr<uint8_t>()), -1);
        EXPECT_TRUE(at::equal(indices, expected));
        const auto words = formats::nm_key(shape, expected.const_data_ptr<uint8_t>());
        EXPECT_TRUE(at::equal(key, at::tensor({words[0], words[1]}, at::kLong)));
        EXPECT_TRUE(at::equal(unpack_nm(values, indices, cols, n, m), weight * mask));
      }
    }
  }
}

TEST(EmulatedPackNm, NamesTheFirstGroupThatKeepsTooMuch) {
  auto weight = at::zeros({3, 8});
  weight[1].slice(0, 4, 7).fill_(1);
  weight[2].fill_(1);
  try {
    pack_nm(weight, std::nullopt, 2, 4);
    FAIL() << "expected an error";
  } catch (const c10::ValueError& error) {
    EXPECT_NE(std::string(error.what()).find("got more in row 1, inputs from 4"), std::string::npos) << error.what();
  }
  const auto bad = at::full({1, 2}, 9, at::kByte);
  EXPECT_THROW(unpack_nm(at::ones({1, 2}), bad, 4, 2, 4), c10::ValueError);
  EXPECT_THROW(unpack_nm(at::ones({1, 3}), bad, 4, 2, 4), c10::ValueError);
}

}  // namespace
}  // namespace jouleprune
