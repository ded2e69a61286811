#include "record/zeros.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace record = jouleprune::record;
using jouleprune::record::has_data;

TEST(RecordZeros, MinusZeroIsZeroAndNanIsNot) {
  const at::Tensor values = at::tensor({0.0, -0.0, 1.0, std::nan(""), std::numeric_limits<double>::denorm_min()});
  EXPECT_EQ(record::count_nonzero(values), 3);
  EXPECT_EQ(record::count_nonzero(values.to(at::kFloat)), 2);  // the subnormal underflows
  EXPECT_EQ(record::count_nonzero(values.to(at::kBFloat16)), 2);
  EXPECT_EQ(record::count_nonzero(values.to(at::kHalf)), 2);
}

TEST(RecordZeros, IntegersHaveNoSign) {
  const at::Tensor values = at::tensor({0, std::numeric_limits<int>::min(), -1, 7}, at::kInt);
  EXPECT_EQ(record::count_nonzero(values), 3);
  EXPECT_EQ(record::count_nonzero(at::tensor({0, -128, 5}, at::kInt).to(at::kChar)), 2);
}

TEST(RecordZeros, AnyStrides) {
  at::Tensor values = at::ones({3, 4, 5});
  values.select(1, 2).zero_();
  EXPECT_EQ(record::count_nonzero(values.transpose(0, 2)), 45);
  EXPECT_EQ(record::count_nonzero(values.slice(1, 2, 4)), 15);
  EXPECT_EQ(record::count_nonzero(values.slice(2, 0, 5, 2)), 27);
  EXPECT_EQ(record::count_nonzero(values.select(0, 1).select(0, 0).select(0, 0)), 1);
  EXPECT_EQ(record::count_nonzero(at::tensor({0.0F, 1.0F}).unsqueeze(1).expand({2, 6})), 6);
}

TEST(RecordZeros, EmptyAndMeta) {
  EXPECT_EQ(record::count_nonzero(at::zeros({0, 4})), 0);
  EXPECT_FALSE(has_data(at::empty({2, 2}, at::TensorOptions(at::kMeta))));
  EXPECT_FALSE(has_data(at::Tensor()));
  EXPECT_TRUE(has_data(at::ones({2})));
}
