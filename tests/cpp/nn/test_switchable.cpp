// nn::Linear and nn::Conv2d: torch's interface, dense first, sparse after the switch.
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <jouleprune/nn.h>
#include <jouleprune/value_errors.h>

#include "nn/layers.h"

namespace jouleprune::tests {
namespace {

struct NetImpl : torch::nn::Cloneable<NetImpl> {
  NetImpl() { reset(); }
  void reset() override {
    conv = register_module("conv", nn::Conv2d(torch::nn::Conv2dOptions(1, 4, 3).padding(1)));
    fc = register_module("fc", nn::Linear(4 * 6 * 6, 5));
  }
  at::Tensor forward(const at::Tensor& x) { return fc(conv(x).relu().flatten(1)); }
  nn::Conv2d conv{nullptr};
  nn::Linear fc{nullptr};
};
TORCH_MODULE(Net);

Net pruned_net() {
  torch::manual_seed(7);
  Net net;
  sprinkle_zeros(net->conv->weight, 0.5);
  sprinkle_zeros(net->fc->weight, 0.8);
  return net;
}

TEST(SwitchableLinear, StartsAsTorchsLinear) {
  torch::manual_seed(1);
  torch::nn::Linear theirs(6, 3);
  torch::manual_seed(1);
  nn::Linear ours(6, 3);
  EXPECT_TRUE(at::equal(ours->weight, theirs->weight));
  EXPECT_TRUE(at::equal(ours->bias, theirs->bias));
  const auto x = at::randn({2, 6});
  EXPECT_TRUE(at::equal(ours(x), theirs(x)));
  EXPECT_EQ(ours->named_parameters().keys(), theirs->named_parameters().keys());
  nn::Linear bare(torch::nn::LinearOptions(6, 3).bias(false));
  EXPECT_FALSE(bare->bias.defined());
  EXPECT_EQ(bare->forward(x).size(1), 3);
}

TEST(SwitchableConv2d, StartsAsTorchsConv2d) {
  using Options = torch::nn::Conv2dOptions;
  const std::vector<Options> cases = {
      Options(4, 6, 3),
      Options(4, 6, {3, 2}).stride(2).padding({1, 0}).dilation(2),
      Options(4, 6, 2).padding(torch::kSame),
      Options(4, 6, 3).groups(2).bias(false),
      Options(4, 6, 3).padding(1).padding_mode(torch::kReflect),
      Options(4, 6, {3, 5}).padding({1, 2}).padding_mode(torch::kCircular),
      Options(4, 6, 3).padding(1).padding_mode(torch::kReplicate),
  };
  for (const auto& options : cases) {
    torch::manual_seed(2);
    torch::nn::Conv2d theirs(options);
    torch::manual_seed(2);
    nn::Conv2d ours(options);
    EXPECT_TRUE(at::equal(ours->weight, theirs->weight));
    const auto x = at::randn({2, 4, 9, 10});
    EXPECT_TRUE(at::equal(ours(x), theirs(x))) << theirs;
  }
}

TEST(Switchable, RunsTheSameSparse) {
  auto net = pruned_net();
  const auto x = at::randn({2, 1, 6, 6});
  const auto expected = net(x);
  const auto fc_weight = net->fc->weight.detach().clone();
  net->conv->switch_to_sparse();
  net->fc->switch_to_sparse();
  expect_close(net(x), expected);
  EXPECT_FALSE(net->fc->weight.defined());
  EXPECT_TRUE(at::equal(net->fc->to_dense(), fc_weight));
  EXPECT_EQ(net->named_parameters().keys(), (std::vector<std::string>{"conv.values", "conv.bias", "fc.values", "fc.bias"}));
  EXPECT_EQ(net->named_buffers().keys(),
            (std::vector<std::string>{"conv.col_indices", "conv.row_offsets", "conv.key", "fc.col_indices", "fc.row_offsets",
                                      "fc.key"}));
  net->fc->switch_to_dense();
  EXPECT_TRUE(at::equal(net->fc->weight, fc_weight));
  EXPECT_TRUE(net->fc->weight.requires_grad());
  EXPECT_EQ(net->fc->named_buffers().size(), 0);
  expect_close(net(x), expected);
}

TEST(Switchable, KeepsModeAndGradientFlags) {
  auto net = pruned_net();
  net->fc->weight.set_requires_grad(false);
  net->eval();
  net->fc->switch_to_sparse();
  EXPECT_FALSE(net->fc->is_training());
  EXPECT_FALSE(net->fc->sparse()->values.requires_grad());
  EXPECT_TRUE(net->fc->bias.requires_grad());
}

TEST(Switchable, ClonesDenseAndSparse) {
  auto net = pruned_net();
  net->fc->switch_to_sparse();
  auto copy = std::dynamic_pointer_cast<NetImpl>(net->clone());
  ASSERT_NE(copy, nullptr);
  EXPECT_TRUE(copy->fc->is_sparse());
  EXPECT_FALSE(copy->conv->is_sparse());
  const auto x = at::randn({2, 1, 6, 6});
  EXPECT_TRUE(at::equal(copy->forward(x), net(x)));
  {
    const at::NoGradGuard no_grad;
    for (auto& parameter : copy->parameters()) {
      parameter.zero_();
    }
  }
  EXPECT_GT(net->fc->sparse()->values.abs().sum().item<double>(), 0);
  EXPECT_EQ(copy->forward(x).abs().sum().item<double>(), 0);
}

TEST(Switchable, LoadsSparseIntoDenseAndBack) {
  auto sparse = pruned_net();
  auto dense = pruned_net();
  sparse->conv->switch_to_sparse();
  sparse->fc->switch_to_sparse();
  const auto x = at::randn({2, 1, 6, 6});
  Net fresh;
  save_and_load(sparse, fresh);
  EXPECT_TRUE(fresh->fc->is_sparse());
  EXPECT_TRUE(at::equal(fresh(x), sparse(x)));
  save_and_load(dense, fresh);
  EXPECT_FALSE(fresh->fc->is_sparse());
  EXPECT_TRUE(at::equal(fresh(x), dense(x)));
  nn::Linear small(3, 2);
  auto linear = dense->fc;
  EXPECT_THROW(save_and_load(linear, small), c10::ValueError);
}

TEST(Switchable, MovesSparseTensors) {
  auto net = pruned_net();
  net->fc->switch_to_sparse();
  net->to(at::kDouble);
  EXPECT_EQ(net->fc->sparse()->values.scalar_type(), at::kDouble);
  EXPECT_EQ(net->fc->sparse()->col_indices.scalar_type(), at::kInt);
  EXPECT_EQ(net(at::randn({1, 1, 6, 6}, at::kDouble)).scalar_type(), at::kDouble);
}

TEST(Switchable, NamesWhatIsWrong) {
  auto net = pruned_net();
  EXPECT_THROW(net->fc->switch_to_sparse("bitmap"), PatternError);
  EXPECT_THROW(net->fc->switch_to_dense(), c10::ValueError);
  EXPECT_TRUE(net->fc->weight.defined());
  net->fc->switch_to_sparse();
  EXPECT_THROW(net->fc->switch_to_sparse(), c10::ValueError);
  EXPECT_THROW(net->fc->reset_parameters(), c10::ValueError);
  nn::Conv2d reflect(torch::nn::Conv2dOptions(1, 1, 3).padding(1).padding_mode(torch::kReflect));
  EXPECT_THROW(reflect->switch_to_sparse(), PatternError);
  EXPECT_FALSE(reflect->is_sparse());
}

}  // namespace
}  // namespace jouleprune::tests
