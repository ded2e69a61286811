#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <jouleprune/nn_sequence.h>
#include <jouleprune/value_errors.h>

#include "nn/layers.h"

namespace jouleprune::tests {
namespace {

using Options = torch::nn::Conv1dOptions;

torch::nn::Conv1d dense_layer(const Options& options) {
  torch::manual_seed(4);
  torch::nn::Conv1d dense(options);
  sprinkle_zeros(dense->weight, 0.6);
  return dense;
}

std::vector<Options> shapes() {
  return {Options(4, 6, 3),
          Options(4, 6, 1).bias(false),
          Options(4, 6, 3).stride(2).padding(1).groups(2),
          Options(4, 6, 3).padding(3).dilation(2),
          Options(4, 6, 3).padding(torch::kSame),
          Options(1, 1, 5).padding(torch::kValid)};
}

TEST(SparseConv1d, EqualsTheMaskedDenseLayer) {
  for (const auto& options : shapes()) {
    auto dense = dense_layer(options);
    auto sparse = nn::SparseConv1d::from_dense(dense);
    EXPECT_TRUE(at::equal(sparse->to_dense(), dense->weight));
    for (const int64_t n : {0, 1, 3}) {
      const auto x = at::randn({n, options.in_channels(), 13});
      expect_close(sparse(x), dense(x));
    }
    const auto single = at::randn({options.in_channels(), 13});
    expect_close(sparse(single), dense(single));
  }
}

TEST(SparseConv1d, GradientsAreTheDenseOnesAtKeptEntries) {
  for (const auto& options : shapes()) {
    auto dense = dense_layer(options);
    auto sparse = nn::SparseConv1d::from_dense(dense);
    auto x = at::randn({2, options.in_channels(), 11}).requires_grad_();
    auto y = x.detach().clone().requires_grad_();
    dense(x).square().mean().backward();
    sparse(y).square().mean().backward();
    expect_close(y.grad(), x.grad());
    expect_close(sparse->values.grad(), dense->weight.grad().masked_select(dense->weight.detach().ne(0)));
  }
}

TEST(SparseConv1d, LoadsAnotherNumberOfKeptEntriesAndClones) {
  const auto options = Options(4, 6, 3).groups(2).padding(1);
  auto saved = nn::SparseConv1d::from_dense(dense_layer(options));
  nn::SparseConv1d loaded(options);
  save_and_load(saved, loaded);
  const auto x = at::randn({1, 4, 9});
  EXPECT_TRUE(at::equal(loaded(x), saved(x)));
  auto copy = std::dynamic_pointer_cast<nn::SparseConv1dImpl>(loaded->clone());
  EXPECT_TRUE(at::equal(copy->forward(x), saved(x)));
  loaded->to(at::kDouble);
  EXPECT_EQ(loaded->col_indices.scalar_type(), at::kInt);
  EXPECT_EQ(loaded(x.to(at::kDouble)).scalar_type(), at::kDouble);
  nn::SparseConv1d other(Options(4, 7, 3));
  EXPECT_THROW(save_and_load(saved, other), c10::ValueError);
}

TEST(SparseConv1d, RefusesWhatHasNoKernel) {
  EXPECT_THROW(nn::SparseConv1d::from_dense(dense_layer(Options(2, 2, 3).padding(1).padding_mode(torch::kReflect))), PatternError);
  EXPECT_THROW(nn::SparseConv1d(Options(2, 2, 2).padding(torch::kSame)), PatternError);
  EXPECT_THROW(nn::SparseConv1d::from_dense(dense_layer(Options(2, 2, 3)), "nchw"), PatternError);
  auto sparse = nn::SparseConv1d::from_dense(dense_layer(Options(2, 2, 3)));
  EXPECT_THROW(sparse(at::randn({2})), c10::ValueError);
}

}  // namespace
}  // namespace jouleprune::tests
