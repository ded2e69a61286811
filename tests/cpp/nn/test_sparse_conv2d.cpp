#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <jouleprune/nn.h>
#include <jouleprune/value_errors.h>

#include "nn/layers.h"

namespace jouleprune::tests {
namespace {

torch::nn::Conv2d dense_layer(const torch::nn::Conv2dOptions& options) {
  torch::manual_seed(5);
  torch::nn::Conv2d dense(options);
  sprinkle_zeros(dense->weight, 0.6);
  return dense;
}

std::vector<torch::nn::Conv2dOptions> shapes() {
  using Options = torch::nn::Conv2dOptions;
  return {Options(3, 5, 3),
          Options(3, 5, 3).bias(false).padding(1),
          Options(4, 6, {3, 2}).stride({2, 1}).padding({1, 0}),
          Options(4, 6, 3).groups(2).dilation(2).padding(2),
          Options(4, 4, 3).groups(4).padding(torch::kSame),
          Options(2, 3, 1).padding(torch::kValid)};
}

TEST(SparseConv2d, EqualsTheMaskedDenseLayer) {
  for (const auto& options : shapes()) {
    auto dense = dense_layer(options);
    auto sparse = nn::SparseConv2d::from_dense(dense, "csr");
    EXPECT_TRUE(at::equal(sparse->to_dense(), dense->weight));
    const auto x = at::randn({2, options.in_channels(), 9, 8});
    expect_close(sparse(x), dense(x));
    expect_close(sparse(x[0]), dense(x[0]));
    expect_close(sparse(x.to(at::MemoryFormat::ChannelsLast)), dense(x));
    EXPECT_EQ(sparse(x.slice(0, 0, 0)).sizes(), dense(x.slice(0, 0, 0)).sizes());
  }
}

TEST(SparseConv2d, GradientsAreTheDenseOnesAtKeptEntries) {
  for (const auto& options : shapes()) {
    auto dense = dense_layer(options);
    auto sparse = nn::SparseConv2d::from_dense(dense);
    auto x = at::randn({2, options.in_channels(), 7, 8}).requires_grad_();
    auto y = x.detach().clone().requires_grad_();
    dense(x).square().mean().backward();
    sparse(y).square().mean().backward();
    expect_close(y.grad(), x.grad());
    expect_close(sparse->values.grad(), dense->weight.grad().masked_select(dense->weight.detach().ne(0)));
  }
}

TEST(SparseConv2d, LoadsAnotherNumberOfKeptEntriesAndClones) {
  const auto options = torch::nn::Conv2dOptions(4, 6, 3).groups(2).padding(1);
  auto saved = nn::SparseConv2d::from_dense(dense_layer(options));
  nn::SparseConv2d loaded(options);
  save_and_load(saved, loaded);
  const auto x = at::randn({1, 4, 6, 6});
  EXPECT_TRUE(at::equal(loaded(x), saved(x)));
  auto copy = std::dynamic_pointer_cast<nn::SparseConv2dImpl>(loaded->clone());
  EXPECT_TRUE(at::equal(copy->forward(x), saved(x)));
  EXPECT_FALSE(copy->values.is_same(loaded->values));
  nn::SparseConv2d other(torch::nn::Conv2dOptions(4, 7, 3));
  EXPECT_THROW(save_and_load(saved, other), c10::ValueError);
}

TEST(SparseConv2d, RefusesWhatHasNoKernel) {
  const auto reflect = torch::nn::Conv2dOptions(2, 2, 3).padding(1).padding_mode(torch::kReflect);
  EXPECT_THROW(nn::SparseConv2d::from_dense(dense_layer(reflect)), PatternError);
  EXPECT_THROW(nn::SparseConv2d(torch::nn::Conv2dOptions(2, 2, 2).padding(torch::kSame)), PatternError);
  EXPECT_THROW(nn::SparseConv2d::from_dense(dense_layer(torch::nn::Conv2dOptions(2, 2, 3)), "nchw"), PatternError);
  EXPECT_THROW(nn::SparseConv2d(torch::nn::Conv2dOptions(3, 2, 3).groups(2)), c10::ValueError);
  auto sparse = nn::SparseConv2d::from_dense(dense_layer(torch::nn::Conv2dOptions(2, 2, 3)));
  EXPECT_THROW(sparse(at::randn({2, 5})), c10::ValueError);
}

TEST(SparseConv2d, PrintsWhatItIs) {
  std::ostringstream out;
  out << nn::SparseConv2d(torch::nn::Conv2dOptions(2, 4, 3).padding(1).groups(2));
  EXPECT_NE(out.str().find("SparseConv2d(2, 4, kernel_size=[3, 3]"), std::string::npos) << out.str();
  EXPECT_NE(out.str().find("groups=2"), std::string::npos);
  EXPECT_NE(out.str().find("nnz=0"), std::string::npos);
}

}  // namespace
}  // namespace jouleprune::tests
