// SparseLSTM and SparseGRU against torch's with the same zeros.
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <jouleprune/nn_sequence.h>
#include <jouleprune/value_errors.h>

#include "nn/layers.h"

namespace jouleprune::tests {
namespace {

using State = std::tuple<at::Tensor, at::Tensor>;

template <typename Layer, typename Options>
Layer pruned(const Options& options) {
  torch::manual_seed(5);
  Layer dense(options);
  for (const auto& parameter : dense->named_parameters()) {
    if (parameter.key().starts_with("weight")) sprinkle_zeros(parameter.value(), 0.6);
  }
  dense->eval();
  return dense;
}

std::vector<torch::nn::LSTMOptions> lstms() {
  using Options = torch::nn::LSTMOptions;
  return {Options(5, 7), Options(5, 7).batch_first(true).bias(false), Options(5, 7).num_layers(2).bidirectional(true),
          Options(5, 7).num_layers(2).proj_size(3).batch_first(true)};
}

std::vector<torch::nn::GRUOptions> grus() {
  using Options = torch::nn::GRUOptions;
  return {Options(5, 7), Options(5, 7).batch_first(true).bias(false), Options(5, 7).num_layers(3).bidirectional(true)};
}

template <typename Options>
at::Tensor state(const Options& options, int64_t n, int64_t size) {
  return at::randn({options.num_layers() * (options.bidirectional() ? 2 : 1), n, size});
}

torch::nn::utils::rnn::PackedSequence packed(bool batch_first) {
  const auto lengths = at::tensor(std::vector<int64_t>{3, 5, 1, 5});
  return torch::nn::utils::rnn::pack_padded_sequence(batch_first ? at::randn({4, 5, 5}) : at::randn({5, 4, 5}), lengths,
                                                     batch_first, /*enforce_sorted=*/false);
}

TEST(SparseLSTM, EqualsTheMaskedDenseLayer) {
  for (const auto& options : lstms()) {
    auto dense = pruned<torch::nn::LSTM>(options);
    auto sparse = nn::SparseLSTM::from_dense(dense);
    const auto compare = [&](const at::Tensor& x, const std::optional<State>& given) {
      const auto [y, last] = sparse(x, given);
      const auto [expected, expected_last] = dense(x, given);
      expect_close(y, expected);
      expect_close(std::get<0>(last), std::get<0>(expected_last));
      expect_close(std::get<1>(last), std::get<1>(expected_last));
    };
    const auto x = at::randn({4, 6, 5});
    const int64_t n = options.batch_first() ? 4 : 6, width = options.proj_size() > 0 ? options.proj_size() : 7;
    compare(x, std::nullopt);
    compare(x, State(state(options, n, width), state(options, n, 7)));
    const auto input = packed(options.batch_first());
    const auto [y, last] = sparse->forward_with_packed_input(input);
    const auto [expected, expected_last] = dense->forward_with_packed_input(input);
    expect_close(y.data(), expected.data());
    expect_close(std::get<1>(last), std::get<1>(expected_last));
  }
}

TEST(SparseGRU, EqualsTheMaskedDenseLayer) {
  for (const auto& options : grus()) {
    auto dense = pruned<torch::nn::GRU>(options);
    auto sparse = nn::SparseGRU::from_dense(dense);
    const auto x = at::randn({4, 6, 5});
    for (const at::Tensor& given : {at::Tensor(), state(options, options.batch_first() ? 4 : 6, 7)}) {
      const auto [y, last] = sparse(x, given);
      const auto [expected, expected_last] = dense(x, given);
      expect_close(y, expected);
      expect_close(last, expected_last);
    }
    const auto input = packed(options.batch_first());
    const auto [y, last] = sparse->forward_with_packed_input(input);
    const auto [expected, expected_last] = dense->forward_with_packed_input(input);
    expect_close(y.data(), expected.data());
    expect_close(last, expected_last);
  }
}

TEST(SparseLSTM, OneSequenceWithoutABatch) {
  auto sparse = nn::SparseLSTM::from_dense(pruned<torch::nn::LSTM>(torch::nn::LSTMOptions(5, 7).batch_first(true)));
  const auto x = at::randn({6, 5});
  const auto [y, last] = sparse(x);
  const auto [expected, expected_last] = sparse(x.unsqueeze(0));
  expect_close(y, expected.squeeze(0));
  expect_close(std::get<0>(last), std::get<0>(expected_last).squeeze(1));
}

TEST(SparseLSTM, GradientsAreTheDenseOnesAtKeptEntries) {
  auto dense = pruned<torch::nn::LSTM>(torch::nn::LSTMOptions(5, 7).num_layers(2).bidirectional(true));
  auto sparse = nn::SparseLSTM::from_dense(dense);
  const auto x = at::randn({4, 6, 5});
  std::get<0>(dense(x)).square().sum().backward();
  std::get<0>(sparse(x)).square().sum().backward();
  const auto parameters = dense->named_parameters();
  for (size_t i = 0; i < sparse->names.size(); ++i) {
    const auto& weight = parameters[sparse->names[i]];
    expect_close(sparse->matrices[i]->sparse()->values.grad(), weight.grad().masked_select(weight.detach().ne(0)));
  }
}

TEST(SparseLSTM, NamesItsTensorsAsPythonDoes) {
  auto sparse = nn::SparseLSTM::from_dense(pruned<torch::nn::LSTM>(torch::nn::LSTMOptions(5, 7)));
  EXPECT_EQ(sparse->named_parameters().keys(), (std::vector<std::string>{"weight_ih_l0.values", "weight_ih_l0.bias",
                                                                         "weight_hh_l0.values", "weight_hh_l0.bias"}));
}

TEST(SparseLSTM, LoadsClonesMovesAndComesBack) {
  const auto options = torch::nn::LSTMOptions(5, 7).num_layers(2);
  auto dense = pruned<torch::nn::LSTM>(options);
  auto saved = nn::SparseLSTM::from_dense(dense);
  nn::SparseLSTM loaded(options);
  EXPECT_EQ(loaded->nnz(), 0);
  save_and_load(saved, loaded);
  loaded->eval();
  const auto x = at::randn({3, 2, 5});
  const auto expected = std::get<0>(saved(x));
  EXPECT_TRUE(at::equal(std::get<0>(loaded(x)), expected));
  auto copy = std::dynamic_pointer_cast<nn::SparseLSTMImpl>(loaded->clone());
  EXPECT_TRUE(at::equal(std::get<0>(copy->forward(x)), expected));
  EXPECT_FALSE(copy->matrices[0]->sparse()->values.is_same(loaded->matrices[0]->sparse()->values));
  auto back = loaded->to_dense();
  const auto parameters = back->named_parameters();
  for (const auto& parameter : dense->named_parameters()) {
    EXPECT_TRUE(at::equal(parameters[parameter.key()], parameter.value())) << parameter.key();
  }
  loaded->to(at::kDouble);
  EXPECT_EQ(std::get<0>(loaded(x.to(at::kDouble))).scalar_type(), at::kDouble);
}

TEST(SparseGRU, LoadsAndComesBack) {
  const auto options = torch::nn::GRUOptions(5, 7).bidirectional(true);
  auto dense = pruned<torch::nn::GRU>(options);
  auto saved = nn::SparseGRU::from_dense(dense);
  nn::SparseGRU loaded(options);
  save_and_load(saved, loaded);
  loaded->eval();
  const auto x = at::randn({3, 2, 5});
  EXPECT_TRUE(at::equal(std::get<0>(loaded(x)), std::get<0>(saved(x))));
  EXPECT_TRUE(at::equal(loaded->to_dense()->named_parameters()["weight_hh_l0_reverse"],
                        dense->named_parameters()["weight_hh_l0_reverse"]));
}

TEST(SparseLSTM, MasksByName) {
  auto dense = pruned<torch::nn::LSTM>(torch::nn::LSTMOptions(5, 7));
  const auto nothing = at::zeros_like(dense->named_parameters()["weight_hh_l0"]);
  auto sparse = nn::SparseLSTM::from_dense(dense, "csr", {{"weight_hh_l0", nothing}});
  EXPECT_EQ(sparse->matrices[1]->nnz(), 0);
  EXPECT_GT(sparse->matrices[0]->nnz(), 0);
  EXPECT_THROW(nn::SparseLSTM::from_dense(dense, "csr", {{"weight", nothing}}), c10::ValueError);
}

TEST(SparseLSTM, NamesWhatIsWrong) {
  auto dense = pruned<torch::nn::LSTM>(torch::nn::LSTMOptions(5, 7));
  EXPECT_THROW(nn::SparseLSTM::from_dense(dense, "bsr"), PatternError);
  EXPECT_THROW(nn::SparseLSTM(0, 4), c10::ValueError);
  auto sparse = nn::SparseLSTM::from_dense(dense);
  EXPECT_THROW(sparse(at::randn({3, 2, 6})), c10::ValueError);
  EXPECT_THROW(sparse(at::randn({0, 2, 5})), c10::ValueError);
  EXPECT_THROW(sparse(at::randn({3, 2, 5}), State(at::randn({1, 3, 7}), at::randn({1, 3, 7}))), c10::ValueError);
}

TEST(SparseGRU, PrintsWhatItIs) {
  std::ostringstream out;
  out << nn::SparseGRU(torch::nn::GRUOptions(5, 7).num_layers(2));
  EXPECT_NE(out.str().find("jouleprune::nn::SparseGRU(5, 7, num_layers=2"), std::string::npos) << out.str();
  EXPECT_NE(out.str().find("nnz=0"), std::string::npos);
}

}  // namespace
}  // namespace jouleprune::tests
