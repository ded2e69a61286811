// SparseMultiheadAttention against torch's with the same zeros.
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <jouleprune/nn_attention.h>
#include <jouleprune/value_errors.h>

#include <cmath>
#include <thread>

#include "nn/layers.h"

namespace jouleprune::tests {
namespace {

using Options = torch::nn::MultiheadAttentionOptions;

torch::nn::MultiheadAttention pruned(const Options& options) {
  torch::manual_seed(5);
  torch::nn::MultiheadAttention dense(options);
  for (const auto& parameter : dense->named_parameters()) {
    if (parameter.key().find("bias") == std::string::npos) {
      sprinkle_zeros(parameter.value(), 0.6);
    } else {
      const at::NoGradGuard no_grad;
      parameter.value().copy_(at::randn_like(parameter.value()));
    }
  }
  dense->eval();
  return dense;
}

std::vector<Options> attentions() {
  return {Options(12, 3),
          Options(12, 2).bias(false),
          Options(12, 4).add_bias_kv(true).add_zero_attn(true),
          Options(12, 3).kdim(5).vdim(5),
          Options(12, 3).kdim(5).vdim(5).bias(false).add_zero_attn(true)};
}

void compare(nn::SparseMultiheadAttention sparse, torch::nn::MultiheadAttention dense, const at::Tensor& q, const at::Tensor& k,
             const at::Tensor& v, const at::Tensor& padding, const at::Tensor& mask) {
  for (const bool average : {true, false}) {
    const auto [y, weights] = sparse(q, k, v, padding, true, mask, average);
    const auto [expected, expected_weights] = dense(q, k, v, padding, true, mask, average);
    expect_close(y, expected);
    expect_close(weights, expected_weights);
  }
  const auto [y, weights] = sparse(q, k, v, padding, false, mask);
  expect_close(y, std::get<0>(dense(q, k, v, padding, false, mask)));
  EXPECT_FALSE(weights.defined());
}

TEST(SparseMultiheadAttention, EqualsTheMaskedDenseLayer) {
  for (const auto& options : attentions()) {
    auto dense = pruned(options);
    auto sparse = nn::SparseMultiheadAttention::from_dense(dense);
    const int64_t heads = options.num_heads();
    const auto q = at::randn({4, 2, 12}), k = at::randn({6, 2, options.kdim()}), v = at::randn({6, 2, options.vdim()});
    auto padding = at::zeros({2, 6}, at::kBool);
    padding[1][5] = true;
    const auto added = at::randn({4, 6});
    for (const auto& pad : {at::Tensor(), padding}) {
      for (const auto& mask : {at::Tensor(), added}) compare(sparse, dense, q, k, v, pad, mask);
    }
    // torch's C++ module has neither masks of bool nor masks by head: each must be what the mask of numbers gives
    const auto hidden = at::rand({4, 6}).gt(0.8);
    const auto shown = std::get<0>(sparse(q, k, v, at::Tensor(), true, hidden));
    expect_close(shown, std::get<0>(dense(q, k, v, at::Tensor(), true, at::zeros({4, 6}).masked_fill(hidden, -INFINITY))));
    const auto each = at::randn({2 * heads, 4, 6});
    const auto weights = std::get<1>(sparse(q, k, v, padding, true, each, false));
    for (int64_t i = 0; i < 2 * heads; ++i) {
      const auto expected = std::get<1>(dense(q, k, v, padding, true, each[i], false));
      expect_close(weights[i / heads][i % heads], expected[i / heads][i % heads]);
    }
    if (options.kdim() == 12 && options.vdim() == 12) {
      compare(sparse, dense, q, q, q, {}, {});
      compare(sparse, dense, q, k, k, padding, {});
    }
  }
}

TEST(SparseMultiheadAttention, GradientsAreTheDenseOnesAtKeptEntries) {
  for (const bool self : {true, false}) {
    auto dense = pruned(Options(12, 3).add_bias_kv(true));
    auto sparse = nn::SparseMultiheadAttention::from_dense(dense);
    const auto x = at::randn({4, 2, 12}), other = self ? x : at::randn({5, 2, 12});
    std::get<0>(dense(x, other, other)).square().sum().backward();
    std::get<0>(sparse(x, other, other)).square().sum().backward();
    const auto at_kept = [](const at::Tensor& weight) { return weight.grad().masked_select(weight.detach().ne(0)); };
    expect_close(sparse->matrices[0]->sparse()->values.grad(), at_kept(dense->in_proj_weight));
    expect_close(sparse->matrices[1]->sparse()->values.grad(), at_kept(dense->out_proj->weight));
    expect_close(sparse->matrices[0]->bias.grad(), dense->in_proj_bias.grad());
    expect_close(sparse->bias_k.grad(), dense->bias_k.grad());
  }
}

TEST(SparseMultiheadAttention, NamesItsTensorsAsPythonDoes) {
  auto sparse = nn::SparseMultiheadAttention::from_dense(pruned(Options(12, 3)));
  EXPECT_EQ(sparse->named_parameters().keys(), (std::vector<std::string>{"in_proj_weight.values", "in_proj_weight.bias",
                                                                         "out_proj.values", "out_proj.bias"}));
  auto apart = nn::SparseMultiheadAttention::from_dense(pruned(Options(12, 3).kdim(5).vdim(5).bias(false)));
  EXPECT_EQ(apart->named_parameters().keys(), (std::vector<std::string>{"q_proj_weight.values", "k_proj_weight.values",
                                                                        "v_proj_weight.values", "out_proj.values"}));
}

TEST(SparseMultiheadAttention, LoadsClonesMovesAndComesBack) {
  for (const auto& options : attentions()) {
    auto dense = pruned(options);
    auto saved = nn::SparseMultiheadAttention::from_dense(dense);
    nn::SparseMultiheadAttention loaded(options);
    EXPECT_EQ(loaded->nnz(), 0);
    loaded->eval();
    const auto q = at::randn({4, 2, 12}), k = at::randn({6, 2, options.kdim()}), v = at::randn({6, 2, options.vdim()});
    loaded(q, k, v);  // what it derives from the empty weight must not stay
    save_and_load(saved, loaded);
    const auto expected = std::get<0>(saved(q, k, v));
    EXPECT_TRUE(at::equal(std::get<0>(loaded(q, k, v)), expected));
    auto copy = std::dynamic_pointer_cast<nn::SparseMultiheadAttentionImpl>(loaded->clone());
    EXPECT_TRUE(at::equal(std::get<0>(copy->forward(q, k, v)), expected));
    auto back = loaded->to_dense();
    const auto parameters = back->named_parameters();
    for (const auto& parameter : dense->named_parameters()) {
      EXPECT_TRUE(at::equal(parameters[parameter.key()], parameter.value())) << parameter.key();
    }
    loaded->to(at::kDouble);
    EXPECT_EQ(std::get<0>(loaded(q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble))).scalar_type(), at::kDouble);
  }
}

TEST(SparseMultiheadAttention, MasksAndDenseWeightsByName) {
  auto dense = pruned(Options(12, 3));
  const auto nothing = at::zeros_like(dense->in_proj_weight);
  auto sparse = nn::SparseMultiheadAttention::from_dense(dense, "csr", {{"in_proj_weight", nothing}}, {"out_proj.weight"});
  EXPECT_EQ(sparse->matrices[0]->nnz(), 0);
  EXPECT_FALSE(sparse->matrices[1]->is_sparse());
  EXPECT_TRUE(sparse->named_parameters().contains("out_proj.weight"));
  auto stays = nn::SparseMultiheadAttention::from_dense(dense, "csr", {}, {"in_proj_weight"});
  const auto q = at::randn({4, 2, 12}), k = at::randn({6, 2, 12});
  compare(stays, dense, q, k, k, {}, {});
  compare(stays, dense, q, k, k.clone().add_(1), {}, {});
  EXPECT_THROW(nn::SparseMultiheadAttention::from_dense(dense, "csr", {{"out_proj", nothing}}), c10::ValueError);
  EXPECT_THROW(nn::SparseMultiheadAttention::from_dense(dense, "csr", {}, {"weight"}), c10::ValueError);
}

TEST(SparseMultiheadAttention, ManyThreadsShareOneModule) {
  auto dense = pruned(Options(12, 3));
  auto sparse = nn::SparseMultiheadAttention::from_dense(dense);
  const auto q = at::randn({4, 2, 12}), k = at::randn({6, 2, 12});
  const auto expected = std::get<0>(dense(q, k, k)).detach();
  std::vector<at::Tensor> outputs(8);
  std::vector<std::thread> threads;
  for (auto& output : outputs) {
    threads.emplace_back([&] {
      const at::NoGradGuard no_grad;
      output = std::get<0>(sparse->forward(q, k, k));
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& output : outputs) expect_close(output, expected);
}

TEST(SparseMultiheadAttention, NamesWhatIsWrong) {
  auto dense = pruned(Options(12, 3));
  EXPECT_THROW(nn::SparseMultiheadAttention::from_dense(dense, "bsr"), PatternError);
  EXPECT_THROW(nn::SparseMultiheadAttention(12, 5), c10::ValueError);
  auto sparse = nn::SparseMultiheadAttention::from_dense(dense);
  const auto x = at::randn({4, 2, 12});
  EXPECT_THROW(sparse(at::randn({4, 2, 11}), x, x), c10::ValueError);
  EXPECT_THROW(sparse(x, at::randn({4, 3, 12}), x), c10::ValueError);
  EXPECT_THROW(sparse(x, x, x, at::zeros({2, 5}, at::kBool)), c10::ValueError);
  EXPECT_THROW(sparse(x, x, x, at::Tensor(), true, at::randn({4, 5})), c10::ValueError);
  EXPECT_THROW(sparse(x, x, x, at::Tensor(), true, at::ones({4, 4}, at::kInt)), c10::ValueError);
}

TEST(SparseMultiheadAttention, PrintsWhatItIs) {
  std::ostringstream out;
  out << nn::SparseMultiheadAttention(12, 3);
  EXPECT_NE(out.str().find("jouleprune::nn::SparseMultiheadAttention(12, 3, dropout=0"), std::string::npos) << out.str();
}

}  // namespace
}  // namespace jouleprune::tests
