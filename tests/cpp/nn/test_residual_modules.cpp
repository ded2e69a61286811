// forward(input, residual): the sum goes into the layer, before its activation.
#include <ATen/ops/randn.h>
#include <ATen/ops/relu.h>
#include <jouleprune/nn_sequence.h>
#include <jouleprune/value_errors.h>
#include <torch/nn/modules/container/sequential.h>

#include "nn/layers.h"

namespace jouleprune::tests {
namespace {

template <typename Sparse, typename Dense>
void check(Dense dense, const at::Tensor& input) {
  sprinkle_zeros(dense->weight, 0.6);
  auto sparse = Sparse::from_dense(dense);
  const auto product = dense(input);
  const auto residual = at::randn_like(product).set_requires_grad(true);
  expect_close(sparse(input, residual), product + residual);
  expect_close(sparse(input), product);
  sparse->activation = "relu";
  const auto got = sparse(input, residual);
  expect_close(got, at::relu(product + residual));
  got.sum().backward();
  expect_close(residual.grad(), at::relu(product + residual).gt(0).to(at::kFloat).detach());
}

TEST(ResidualModules, IsAddedBeforeTheActivation) {
  torch::manual_seed(3);
  for (const auto& x : {at::randn({5, 24}), at::randn({2, 3, 24}), at::randn({24})}) check<nn::SparseLinear>(torch::nn::Linear(24, 17), x);
  for (const auto& x : {at::randn({2, 4, 7, 6}), at::randn({4, 7, 6})}) {
    check<nn::SparseConv2d>(torch::nn::Conv2d(torch::nn::Conv2dOptions(4, 6, 3).padding(1).stride(2)), x);
  }
  for (const auto& x : {at::randn({2, 4, 9}), at::randn({4, 9})}) {
    check<nn::SparseConv1d>(torch::nn::Conv1d(torch::nn::Conv1dOptions(4, 6, 3).groups(2)), x);
  }
}

template <typename Layer>
void check_switchable(Layer layer, const at::Tensor& input) {
  sprinkle_zeros(layer->weight, 0.6);
  const auto residual = at::randn_like(layer(input));
  const auto dense = layer(input, residual);
  expect_close(dense, layer(input) + residual);
  EXPECT_THROW(layer(input, at::randn({1})), c10::ValueError);  // no broadcast: as when it is sparse
  layer->switch_to_sparse();
  expect_close(layer(input, residual), dense);
  EXPECT_THROW(layer(input, at::randn({1})), c10::ValueError);
}

TEST(ResidualModules, SwitchableLayersTakeItDenseAndSparse) {
  check_switchable(nn::Linear(24, 17), at::randn({5, 24}));
  check_switchable(nn::Conv2d(4, 6, 3), at::randn({2, 4, 7, 6}));
  check_switchable(nn::Conv1d(4, 6, 3), at::randn({2, 4, 9}));
}

TEST(ResidualModules, OtherLayoutsRefuseIt) {
  torch::nn::Linear dense(32, 16);
  auto blocks = nn::SparseLinear::from_dense(dense, nn::PackOptions{.layout = "bsr", .block_size = nn::BlockSize{4, 4}});
  const auto x = at::randn({3, 32});
  EXPECT_THROW(blocks(x, at::randn({3, 16})), c10::ValueError);
  expect_close(blocks(x), dense(x));
}

TEST(ResidualModules, LayersStandInSequentials) {
  torch::nn::Linear dense(6, 6);
  torch::nn::Sequential net(nn::SparseLinear::from_dense(dense), nn::Linear(6, 4));
  EXPECT_EQ(net->forward(at::randn({2, 6})).size(1), 4);
}

}  // namespace
}  // namespace jouleprune::tests
