#include <ATen/ops/equal.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <jouleprune/nn.h>
#include <jouleprune/value_errors.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/optim/sgd.h>

#include "nn/layers.h"

namespace jouleprune::tests {
namespace {

torch::nn::Linear dense_layer(int64_t in, int64_t out, bool bias = true) {
  torch::manual_seed(3);
  torch::nn::Linear dense(torch::nn::LinearOptions(in, out).bias(bias));
  sprinkle_zeros(dense->weight, 0.7);
  return dense;
}

TEST(SparseLinear, EqualsTheMaskedDenseLayer) {
  for (const bool bias : {true, false}) {
    auto dense = dense_layer(37, 19, bias);
    auto sparse = nn::SparseLinear::from_dense(dense, "csr");
    EXPECT_EQ(sparse->nnz(), dense->weight.ne(0).sum().item<int64_t>());
    EXPECT_TRUE(at::equal(sparse->to_dense(), dense->weight));
    for (const auto& sizes : std::vector<std::vector<int64_t>>{{5, 37}, {1, 37}, {0, 37}, {2, 3, 37}}) {
      const auto x = at::randn(sizes);
      expect_close(sparse->forward(x), dense->forward(x));
    }
    const auto strided = at::randn({37, 5}).t();
    expect_close(sparse(strided), dense(strided));
  }
}

TEST(SparseLinear, KeepsWhatTheMaskKeepsEvenZeros) {
  auto dense = dense_layer(8, 4);
  const auto mask = at::ones_like(dense->weight);
  EXPECT_EQ(nn::SparseLinear::from_dense(dense, "csr", mask)->nnz(), 32);
  EXPECT_EQ(nn::SparseLinear::from_dense(dense, "csr", at::zeros({4, 8}))->nnz(), 0);
}

TEST(SparseLinear, NamesItsTensorsAsPythonDoes) {
  auto sparse = nn::SparseLinear::from_dense(dense_layer(8, 4));
  EXPECT_EQ(sparse->named_parameters().keys(), (std::vector<std::string>{"values", "bias"}));
  EXPECT_EQ(sparse->named_buffers().keys(), (std::vector<std::string>{"col_indices", "row_offsets", "key"}));
  EXPECT_EQ(sparse->col_indices.scalar_type(), at::kInt);
  EXPECT_EQ(sparse->row_offsets.numel(), 5);
  EXPECT_EQ(sparse->key.scalar_type(), at::kLong);
}

TEST(SparseLinear, GradientsAreTheDenseOnesAtKeptEntries) {
  auto dense = dense_layer(11, 7);
  auto sparse = nn::SparseLinear::from_dense(dense);
  auto x = at::randn({6, 11}).requires_grad_();
  auto y = x.detach().clone().requires_grad_();
  dense->forward(x).square().sum().backward();
  sparse->forward(y).square().sum().backward();
  expect_close(y.grad(), x.grad());
  expect_close(sparse->bias.grad(), dense->bias.grad());
  const auto kept = dense->weight.detach().ne(0);
  expect_close(sparse->values.grad(), dense->weight.grad().masked_select(kept));
}

TEST(SparseLinear, TrainsAtKeptEntriesOnly) {
  auto sparse = nn::SparseLinear::from_dense(dense_layer(11, 7));
  const auto zeros = sparse->to_dense().detach().eq(0);
  torch::optim::SGD optimizer(sparse->parameters(), torch::optim::SGDOptions(0.05).momentum(0.9).weight_decay(1e-2));
  const auto x = at::randn({16, 11});
  const double before = sparse->forward(x).square().mean().item<double>();
  for (int step = 0; step < 10; ++step) {
    optimizer.zero_grad();
    sparse->forward(x).square().mean().backward();
    optimizer.step();
  }
  EXPECT_LT(sparse->forward(x).square().mean().item<double>(), before);
  EXPECT_EQ(sparse->to_dense().masked_select(zeros).ne(0).sum().item<int64_t>(), 0);
}

TEST(SparseLinear, CloneSharesNothing) {
  auto sparse = nn::SparseLinear::from_dense(dense_layer(8, 4));
  auto copy = std::dynamic_pointer_cast<nn::SparseLinearImpl>(sparse->clone());
  ASSERT_NE(copy, nullptr);
  const auto x = at::randn({2, 8});
  EXPECT_TRUE(at::equal(copy->forward(x), sparse->forward(x)));
  {
    const at::NoGradGuard no_grad;
    copy->values.zero_();
  }
  EXPECT_GT(sparse->values.abs().sum().item<double>(), 0);
}

TEST(SparseLinear, LoadsAnotherNumberOfKeptEntries) {
  auto saved = nn::SparseLinear::from_dense(dense_layer(8, 4));
  nn::SparseLinear loaded(8, 4);
  EXPECT_EQ(loaded->nnz(), 0);
  save_and_load(saved, loaded);
  EXPECT_TRUE(at::equal(loaded->to_dense(), saved->to_dense()));
  const auto x = at::randn({3, 8});
  EXPECT_TRUE(at::equal(loaded(x), saved(x)));
  EXPECT_TRUE(loaded->values.requires_grad());
}

TEST(SparseLinear, LoadsInsideASequential) {
  torch::nn::Sequential saved(nn::SparseLinear::from_dense(dense_layer(8, 4)), nn::SparseLinear::from_dense(dense_layer(4, 6)));
  torch::nn::Sequential loaded(nn::SparseLinear(8, 4), nn::SparseLinear(4, 6));
  save_and_load(saved, loaded);
  const auto x = at::randn({3, 8});
  EXPECT_TRUE(at::equal(loaded->forward(x), saved->forward(x)));
}

TEST(SparseLinear, RefusesUnsoundArchivesAndStaysAsItWas) {
  auto saved = nn::SparseLinear::from_dense(dense_layer(8, 4));
  auto target = nn::SparseLinear::from_dense(dense_layer(8, 4));
  const auto before = target->to_dense().detach().clone();
  nn::SparseLinear wider(9, 4);
  EXPECT_THROW(save_and_load(saved, wider), c10::ValueError);  // every column would fit in a wider layer
  nn::SparseLinear taller(8, 5);
  EXPECT_THROW(save_and_load(saved, taller), c10::ValueError);
  nn::SparseLinear bare(nn::SparseLinearOptions(8, 4, false));
  EXPECT_THROW(save_and_load(saved, bare), c10::ValueError);
  saved->col_indices.fill_(100);
  EXPECT_THROW(save_and_load(saved, target), c10::ValueError);
  EXPECT_TRUE(at::equal(target->to_dense(), before));
}

TEST(SparseLinear, MovesFloatsAndLeavesIndices) {
  auto sparse = nn::SparseLinear::from_dense(dense_layer(8, 4));
  sparse->to(at::kDouble);
  EXPECT_EQ(sparse->values.scalar_type(), at::kDouble);
  EXPECT_EQ(sparse->bias.scalar_type(), at::kDouble);
  EXPECT_EQ(sparse->col_indices.scalar_type(), at::kInt);
  EXPECT_EQ(sparse->key.scalar_type(), at::kLong);
  EXPECT_EQ(sparse->forward(at::randn({2, 8}, at::kDouble)).scalar_type(), at::kDouble);
  EXPECT_THROW(sparse->to(at::kInt), c10::ValueError);
}

TEST(SparseLinear, NamesWhatIsWrong) {
  auto dense = dense_layer(8, 4);
  EXPECT_THROW(nn::SparseLinear::from_dense(dense, "bsr"), PatternError);
  EXPECT_THROW(nn::SparseLinear::from_dense(dense, "csr", at::zeros({8, 4})), c10::ValueError);
  EXPECT_THROW(nn::SparseLinear(-1, 4), c10::ValueError);
  auto sparse = nn::SparseLinear::from_dense(dense);
  EXPECT_THROW(sparse->forward(at::randn({2, 9})), c10::ValueError);
}

TEST(SparseLinear, PrintsWhatItIs) {
  std::ostringstream out;
  out << nn::SparseLinear::from_dense(dense_layer(8, 4), "csr", at::zeros({4, 8}));
  EXPECT_EQ(out.str(),
            "jouleprune::nn::SparseLinear(in_features=8, out_features=4, bias=true, layout=csr, nnz=0, density=0)");
}

}  // namespace
}  // namespace jouleprune::tests
