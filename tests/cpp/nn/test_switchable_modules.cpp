// nn::LSTM, GRU, MultiheadAttention and Conv1d: torch's interface, dense first, sparse after the switch.
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <jouleprune/nn_attention.h>
#include <jouleprune/value_errors.h>
#include <torch/nn/modules/container/sequential.h>

#include <sstream>

#include "nn/layers.h"

namespace jouleprune::tests {
namespace {

struct NetImpl : torch::nn::Cloneable<NetImpl> {
  NetImpl() { reset(); }
  void reset() override {
    conv = register_module("conv", nn::Conv1d(torch::nn::Conv1dOptions(6, 8, 3).padding(1)));
    lstm = register_module("lstm", nn::LSTM(torch::nn::LSTMOptions(8, 10).num_layers(2).bidirectional(true)));
    gru = register_module("gru", nn::GRU(torch::nn::GRUOptions(20, 12)));
    attention = register_module("attention", nn::MultiheadAttention(torch::nn::MultiheadAttentionOptions(12, 3).add_bias_kv(true)));
  }
  /// x [n, 6, w] -> [w, n, 12]
  at::Tensor forward(const at::Tensor& x) {
    const auto hidden = std::get<0>(lstm(conv(x).permute({2, 0, 1})));
    const auto states = std::get<0>(gru(hidden));
    return std::get<0>(attention(states, states, states));
  }
  nn::Conv1d conv{nullptr};
  nn::LSTM lstm{nullptr};
  nn::GRU gru{nullptr};
  nn::MultiheadAttention attention{nullptr};
};
TORCH_MODULE(Net);

Net pruned_net() {
  torch::manual_seed(7);
  Net net;
  for (const auto& parameter : net->named_parameters()) {
    if (parameter.value().dim() > 1 && parameter.key().find("bias") == std::string::npos) sprinkle_zeros(parameter.value(), 0.6);
  }
  net->eval();
  return net;
}

void switch_all(Net& net) {
  net->conv->switch_to_sparse();
  net->lstm->switch_to_sparse("csr", {}, /*stay_dense=*/{"weight_hh_l0"});
  net->gru->switch_to_sparse();
  net->attention->switch_to_sparse();
}

at::Tensor input() { return at::randn({2, 6, 9}); }

template <typename Ours, typename Theirs>
void expect_same_start(const Ours& ours, const Theirs& theirs) {
  EXPECT_EQ(ours->named_parameters().keys(), theirs->named_parameters().keys());
  const auto expected = theirs->named_parameters();
  for (const auto& parameter : ours->named_parameters()) {
    EXPECT_TRUE(at::equal(parameter.value(), expected[parameter.key()])) << parameter.key();
    EXPECT_TRUE(parameter.value().requires_grad()) << parameter.key();
  }
}

TEST(SwitchableModules, StartAsTorchs) {
  const auto seeded = [](auto make) {
    torch::manual_seed(3);
    return make();
  };
  const auto lstm = torch::nn::LSTMOptions(5, 7).num_layers(2).bidirectional(true).dropout(0.5);
  auto ours = seeded([&] { return nn::LSTM(lstm); });
  auto theirs = seeded([&] { return torch::nn::LSTM(lstm); });
  expect_same_start(ours, theirs);
  const auto x = at::randn({4, 3, 5});
  torch::manual_seed(1);  // both draw the dropout of training alike
  const auto expected = std::get<0>(theirs(x));
  torch::manual_seed(1);
  EXPECT_TRUE(at::equal(std::get<0>(ours(x)), expected));
  ours->eval(), theirs->eval();
  EXPECT_TRUE(at::equal(std::get<0>(ours(x)), std::get<0>(theirs(x))));
  const auto gru = torch::nn::GRUOptions(5, 7).batch_first(true).bias(false);
  expect_same_start(seeded([&] { return nn::GRU(gru); }), seeded([&] { return torch::nn::GRU(gru); }));
  const auto attention = torch::nn::MultiheadAttentionOptions(12, 3).kdim(5).add_bias_kv(true);
  expect_same_start(seeded([&] { return nn::MultiheadAttention(attention); }),
                    seeded([&] { return torch::nn::MultiheadAttention(attention); }));
}

TEST(SwitchableModules, Conv1dStartsAsTorchs) {
  using Options = torch::nn::Conv1dOptions;
  for (const auto& options : {Options(4, 6, 3), Options(4, 6, 2).padding(torch::kSame), Options(4, 6, 3).groups(2).bias(false).stride(2),
                              Options(4, 6, 3).padding(2).padding_mode(torch::kReflect), Options(4, 6, 3).padding(1).padding_mode(torch::kCircular)}) {
    torch::manual_seed(2);
    torch::nn::Conv1d theirs(options);
    torch::manual_seed(2);
    nn::Conv1d ours(options);
    const auto x = at::randn({2, 4, 9});
    EXPECT_TRUE(at::equal(ours(x), theirs(x))) << theirs;
  }
}

TEST(SwitchableModules, RunTheSameSparseAndBack) {
  auto net = pruned_net();
  const auto x = input();
  const auto expected = net(x).detach();
  const auto keys = net->named_parameters().keys();
  const auto weight = net->lstm->to_dense()->named_parameters()["weight_ih_l0"].detach().clone();
  switch_all(net);
  expect_close(net(x), expected);
  EXPECT_TRUE(net->lstm->is_sparse() && net->lstm->dense() == nullptr);
  const auto sparse_keys = net->named_parameters().keys();
  const auto has = [&](const std::string& key) { return std::find(sparse_keys.begin(), sparse_keys.end(), key) != sparse_keys.end(); };
  EXPECT_TRUE(has("conv.values") && has("lstm.weight_ih_l0.values") && has("lstm.weight_hh_l0.weight"));
  EXPECT_TRUE(has("attention.in_proj_weight.values") && has("attention.out_proj.values") && has("attention.bias_k"));
  EXPECT_LT(net->gru->nnz(), (20 + 12) * 3 * 12);
  net->lstm->switch_to_dense();
  net->conv->switch_to_dense();
  net->gru->switch_to_dense();
  net->attention->switch_to_dense();
  EXPECT_EQ(net->named_parameters().keys(), keys);
  EXPECT_TRUE(at::equal(net->lstm->named_parameters()["weight_ih_l0"], weight));
  expect_close(net(x), expected);
}

TEST(SwitchableModules, TakeMasks) {
  auto net = pruned_net();
  const auto dense = net->lstm->to_dense();
  auto mask = dense->named_parameters()["weight_ih_l0"].detach().gt(0);
  net->lstm->switch_to_sparse("csr", {{"weight_ih_l0", mask}});
  EXPECT_TRUE(at::equal(net->lstm->sparse()->matrices.front()->to_dense().ne(0), mask));
  EXPECT_THROW(net->gru->switch_to_sparse("csr", {{"weight_ih_l7", mask}}), c10::ValueError);
  EXPECT_FALSE(net->gru->is_sparse());
}

TEST(SwitchableModules, RunPackedSequences) {
  auto net = pruned_net();
  const auto packed = torch::nn::utils::rnn::pack_padded_sequence(at::randn({5, 4, 8}), at::tensor(std::vector<int64_t>{3, 5, 1, 5}),
                                                                  /*batch_first=*/false, /*enforce_sorted=*/false);
  const auto [expected, last] = net->lstm->forward_with_packed_input(packed);
  net->lstm->switch_to_sparse();
  const auto [got, got_last] = net->lstm->forward_with_packed_input(packed);
  expect_close(got.data(), expected.data());
  expect_close(std::get<1>(got_last), std::get<1>(last));
}

TEST(SwitchableModules, TrainDenseAndSparse) {
  auto net = pruned_net();
  net->train();
  EXPECT_TRUE(net->lstm->dense()->is_training());
  net(input()).sum().backward();
  EXPECT_TRUE(net->lstm->named_parameters()["weight_ih_l0"].grad().defined());
  switch_all(net);
  EXPECT_TRUE(net->lstm->sparse()->is_training() && net->gru->is_training());
  net(input()).sum().backward();
  EXPECT_GT(net->named_parameters()["attention.in_proj_weight.values"].grad().abs().sum().item<double>(), 0);
  net->eval();
  EXPECT_FALSE(net->lstm->sparse()->is_training());
}

TEST(SwitchableModules, CloneDenseAndSparse) {
  for (const bool sparse : {false, true}) {
    auto net = pruned_net();
    if (sparse) switch_all(net);
    auto copy = std::dynamic_pointer_cast<NetImpl>(net->clone());
    ASSERT_NE(copy, nullptr);
    EXPECT_EQ(copy->lstm->is_sparse(), sparse);
    const auto x = input();
    const auto expected = net(x);
    EXPECT_TRUE(at::equal(copy->forward(x), expected));
    {
      const at::NoGradGuard no_grad;
      for (auto& parameter : copy->parameters()) parameter.zero_();
    }
    EXPECT_EQ(copy->forward(x).abs().sum().item<double>(), 0);
    EXPECT_TRUE(at::equal(net(x), expected));
  }
}

TEST(SwitchableModules, LoadSparseIntoDenseAndBack) {
  auto sparse = pruned_net();
  auto dense = pruned_net();
  switch_all(sparse);
  const auto x = input();
  Net fresh;
  fresh->eval();
  save_and_load(sparse, fresh);
  EXPECT_TRUE(fresh->lstm->is_sparse() && fresh->gru->is_sparse() && fresh->attention->is_sparse() && fresh->conv->is_sparse());
  EXPECT_TRUE(at::equal(fresh(x), sparse(x)));
  save_and_load(dense, fresh);
  EXPECT_FALSE(fresh->lstm->is_sparse() || fresh->attention->is_sparse());
  EXPECT_TRUE(at::equal(fresh(x), dense(x)));
  nn::LSTM other(torch::nn::LSTMOptions(8, 4).num_layers(2).bidirectional(true));
  const auto before = other->named_parameters()["weight_ih_l0"].detach().clone();
  EXPECT_THROW(save_and_load(dense->lstm, other), c10::ValueError);
  EXPECT_TRUE(at::equal(other->named_parameters()["weight_ih_l0"], before));
  auto theirs = dense->gru->to_dense();  // archives of torch's modules load, too
  nn::GRU gru(torch::nn::GRUOptions(20, 12));
  save_and_load(theirs, gru);
  EXPECT_TRUE(at::equal(gru->named_parameters()["weight_hh_l0"], theirs->named_parameters()["weight_hh_l0"]));
}

TEST(SwitchableModules, MoveBetweenDtypes) {
  for (const bool sparse : {false, true}) {
    auto net = pruned_net();
    if (sparse) switch_all(net);
    net->to(at::kDouble);
    EXPECT_EQ(net(input().to(at::kDouble)).scalar_type(), at::kDouble);
  }
}

TEST(SwitchableModules, StandInSequentials) {
  torch::nn::Sequential net(nn::Conv1d(6, 8, 3), nn::LSTM(7, 5));
  const auto x = at::randn({2, 6, 9});
  const auto dense = net->forward<std::tuple<at::Tensor, std::tuple<at::Tensor, at::Tensor>>>(x);
  net->ptr(1)->as<nn::LSTM>()->switch_to_sparse();
  const auto sparse = net->forward<std::tuple<at::Tensor, std::tuple<at::Tensor, at::Tensor>>>(x);
  expect_close(std::get<0>(sparse), std::get<0>(dense));
}

TEST(SwitchableModules, PrintAndNameWhatIsWrong) {
  auto net = pruned_net();
  std::ostringstream dense, sparse;
  dense << net;
  EXPECT_NE(dense.str().find("jouleprune::nn::LSTM("), std::string::npos) << dense.str();
  EXPECT_EQ(dense.str().find("torch::nn::LSTM"), std::string::npos) << dense.str();
  switch_all(net);
  sparse << net;
  EXPECT_NE(sparse.str().find("jouleprune::nn::SparseLSTM("), std::string::npos) << sparse.str();
  EXPECT_THROW(net->lstm->switch_to_sparse(), c10::ValueError);
  EXPECT_THROW(net->conv->switch_to_sparse(), c10::ValueError);
  nn::GRU gru(4, 4);
  EXPECT_THROW(gru->switch_to_dense(), c10::ValueError);
  EXPECT_THROW(gru->switch_to_sparse("bsr"), PatternError);
}

}  // namespace
}  // namespace jouleprune::tests
