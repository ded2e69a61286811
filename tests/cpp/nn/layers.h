// Dense layers with zeros in their weights, and comparisons, for the tests of sparse modules.
#pragma once
#include <ATen/core/grad_mode.h>
#include <ATen/ops/rand_like.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/module.h>
#include <torch/serialize.h>

#include <memory>
#include <sstream>
#include <string>

namespace jouleprune::tests {

/// Zeroes about `sparsity` of a weight, and its first row: an empty row is the odd case.
inline void sprinkle_zeros(at::Tensor weight, double sparsity) {
  const at::NoGradGuard no_grad;
  weight.mul_(at::rand_like(weight).gt(sparsity));
  weight.select(0, 0).zero_();
}

/// Sums of up to a few hundred products in another order: float32 differs by rounding only.
inline void expect_close(const at::Tensor& got, const at::Tensor& expected, double tolerance = 1e-5) {
  ASSERT_EQ(got.sizes(), expected.sizes());
  ASSERT_EQ(got.scalar_type(), expected.scalar_type());
  if (got.numel() > 0) {
    EXPECT_LT((got - expected).abs().max().item<double>(), tolerance * std::max(1.0, expected.abs().max().item<double>()));
  }
}

/// Saves one module and loads the bytes into another.
template <typename From, typename To>
void save_and_load(const From& from, To& to) {
  std::stringstream bytes;
  torch::save(from, bytes);
  torch::load(to, bytes);
}

}  // namespace jouleprune::tests
