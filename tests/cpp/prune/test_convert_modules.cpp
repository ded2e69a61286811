// convert() reaches Conv1d, LSTM, GRU and MultiheadAttention, and switches Linear to int8.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/rand_like.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <jouleprune/nn_attention.h>
#include <jouleprune/prune.h>
#include <jouleprune/value_errors.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/utils/rnn.h>

#include <cmath>
#include <limits>
#include <set>

#include "prune/networks.h"

namespace jouleprune::tests {
namespace {

void prune_weights(torch::nn::Module& module, const std::set<std::string>& names, double sparsity = 0.9) {
  const at::NoGradGuard no_grad;
  for (auto& parameter : module.named_parameters()) {
    if (names.contains(parameter.key())) parameter.value().mul_(at::rand_like(parameter.value()).gt(sparsity));
  }
}

/// A list of modules that is run by types: dense or sparse, whichever stands there.
struct SequenceNetImpl : torch::nn::Module {
  SequenceNetImpl() {
    list = register_module("list", torch::nn::ModuleList());
    list->push_back(torch::nn::Conv1d(torch::nn::Conv1dOptions(6, 8, 3).padding(1)));
    list->push_back(torch::nn::LSTM(torch::nn::LSTMOptions(8, 16).num_layers(2)));
    list->push_back(torch::nn::GRU(torch::nn::GRUOptions(16, 12)));
    list->push_back(torch::nn::MultiheadAttention(12, 3));
  }
  /// x [n, 6, w]
  at::Tensor forward(const at::Tensor& x) {
    auto* conv = list[0]->as<torch::nn::Conv1d>();
    const auto steps = (conv ? conv->forward(x) : list[0]->as<nn::SparseConv1d>()->forward(x)).permute({2, 0, 1});
    auto* lstm = list[1]->as<torch::nn::LSTM>();
    const auto hidden = std::get<0>(lstm ? lstm->forward(steps) : list[1]->as<nn::SparseLSTM>()->forward(steps));
    auto* gru = list[2]->as<torch::nn::GRU>();
    const auto states = std::get<0>(gru ? gru->forward(hidden) : list[2]->as<nn::SparseGRU>()->forward(hidden));
    auto* attention = list[3]->as<torch::nn::MultiheadAttention>();
    const auto first = self_attention ? states : states.slice(0, 0, 2);  // other queries than keys: thirds of the projection
    return std::get<0>(attention ? attention->forward(first, states, states)
                                 : list[3]->as<nn::SparseMultiheadAttention>()->forward(first, states, states));
  }
  torch::nn::ModuleList list{nullptr};
  bool self_attention = false;
};
TORCH_MODULE(SequenceNet);

const std::set<std::string> kPruned = {"list.0.weight",       "list.1.weight_ih_l0",   "list.1.weight_hh_l1",
                                       "list.2.weight_hh_l0", "list.3.in_proj_weight", "list.3.out_proj.weight"};

struct Sequences {
  SequenceNet net{};
  at::Tensor x = at::randn({4, 6, 5});
  Sequences() {
    torch::manual_seed(7);
    net->eval();
    prune_weights(*net, kPruned);
  }
  Forward forward() {
    return {[this] { net->forward(x); }, 4};
  }
};

TEST(ConvertModules, ReplacesEveryKindAndLeavesUnprunedWeightsDense) {
  const at::NoGradGuard no_grad;
  Sequences sequences;
  const auto expected = sequences.net->forward(sequences.x);
  const auto decisions = convert(*sequences.net, sequences.forward(), {.force = true, .replace_in_lists = true});
  std::set<std::string> converted;
  for (const auto& decision : decisions) {
    EXPECT_EQ(decision.layout, "csr") << decision.reason;
    converted.insert(decision.weight);
  }
  EXPECT_EQ(converted, kPruned);
  EXPECT_LT((sequences.net->forward(sequences.x) - expected).abs().max().item<double>(), 1e-5);
  const auto parameters = sequences.net->named_parameters();
  for (const std::string name : {"list.0.values", "list.1.weight_ih_l0.values", "list.1.weight_hh_l0.weight", "list.1.weight_ih_l1.weight",
                                 "list.1.weight_hh_l1.values", "list.2.weight_ih_l0.weight", "list.3.in_proj_weight.values",
                                 "list.3.out_proj.values"}) {
    EXPECT_TRUE(parameters.contains(name)) << name;
  }
  EXPECT_EQ(explain(*sequences.net).find("dense:"), std::string::npos) << explain(*sequences.net);
}

TEST(ConvertModules, JoulesOfTheConvertedNetworkAreThoseOfItsKernels) {
  const at::NoGradGuard no_grad;
  Sequences sequences;
  sequences.net->self_attention = true;  // a part of a weight is no parameter, whose joules could decide
  const auto profile = Profile::load("generic-cpu");
  const double before = estimate(*sequences.net, sequences.forward(), profile).total_j();
  const auto decisions = convert(*sequences.net, sequences.forward(), {.profile = profile, .replace_in_lists = true});
  EXPECT_EQ(decisions.size(), kPruned.size());
  for (const auto& decision : decisions) {
    EXPECT_NE(decision.reason.find(" J"), std::string::npos) << decision.reason;
    EXPECT_FALSE(decision.dense_s.has_value());
  }
  const auto report = estimate(*sequences.net, sequences.forward(), profile);
  EXPECT_LT(report.total_j(), before);
  std::map<std::string, std::string> layouts;
  for (const auto& layer : report.layers()) layouts[layer.name] = layer.layout;
  for (const auto& decision : decisions) EXPECT_EQ(layouts.at(decision.name), decision.layout) << decision.name;
}

TEST(ConvertModules, ModulesOfSeveralWeightsShareARace) {
  const at::NoGradGuard no_grad;
  for (const bool sparse_wins : {true, false}) {
    Sequences sequences;
    const auto timer = sparse_wins ? fixed_timer(2e-4, 1e-4) : fixed_timer(1e-4, 2e-4);
    const auto decisions = convert(*sequences.net, sequences.forward(), {.replace_in_lists = true, .timer = timer});
    std::map<std::string, double> times;
    for (const auto& decision : decisions) {
      EXPECT_EQ(decision.layout, sparse_wins ? "csr" : "dense") << decision.reason;
      ASSERT_TRUE(decision.dense_s.has_value()) << decision.name;
      times[decision.weight] = *decision.dense_s;
    }
    EXPECT_EQ(times.at("list.1.weight_ih_l0"), times.at("list.1.weight_hh_l1"));
    EXPECT_EQ(times.at("list.3.in_proj_weight"), times.at("list.3.out_proj.weight"));
    EXPECT_GT(times.at("list.3.in_proj_weight"), times.at("list.2.weight_hh_l0"));  // three products against one
  }
}

TEST(ConvertModules, RacesPackedSequences) {
  const at::NoGradGuard no_grad;
  using namespace torch::nn::utils::rnn;
  const auto packed = pack_padded_sequence(at::randn({5, 3, 8}), at::tensor(std::vector<int64_t>{5, 4, 2}));
  torch::nn::ModuleList list(torch::nn::LSTM(8, 16), torch::nn::GRU(8, 16));
  list->eval();
  prune_weights(*list, {"0.weight_hh_l0", "1.weight_hh_l0"});
  const Forward forward{[&] {
                          if (auto* lstm = list[0]->as<torch::nn::LSTM>()) lstm->forward_with_packed_input(packed);
                          if (auto* gru = list[1]->as<torch::nn::GRU>()) gru->forward_with_packed_input(packed);
                        },
                        3};
  for (const auto& decision : convert(*list, forward, {.replace_in_lists = true, .timer = fixed_timer(2e-4, 1e-4)})) {
    EXPECT_EQ(decision.layout, "csr") << decision.reason;
  }
}

TEST(ConvertModules, SaysWhyTypedMembersStayDense) {
  struct NetImpl : torch::nn::Module {
    NetImpl() { lstm = register_module("lstm", torch::nn::LSTM(8, 16)); }
    torch::nn::LSTM lstm{nullptr};
  };
  const auto net = std::make_shared<NetImpl>();
  prune_weights(*net, {"lstm.weight_hh_l0"});
  const auto x = at::randn({5, 3, 8});
  const auto decisions = convert(*net, {[&] { net->lstm->forward(x); }, 3}, {.force = true});
  ASSERT_EQ(decisions.size(), 1u);
  EXPECT_EQ(decisions[0].layout, "dense");
  EXPECT_NE(decisions[0].reason.find("declare it as jouleprune::nn::LSTM"), std::string::npos) << decisions[0].reason;
}

/// Asks for dense once and then seven pairs, as each race does; the second race of three is that of csr.
Timer int8_timer(double dense_s, double int8_s, double csr_s) {
  auto calls = std::make_shared<int>(0);
  return [=](const std::function<void()>& call) {
    call();
    const int position = (*calls)++ % 45, within = position % 15;
    if (within == 0 || within % 2 == 1) return dense_s;
    return position < 15 ? int8_s : position < 30 ? csr_s : 0.9 * dense_s;
  };
}

Network pruned_mlp() {
  auto network = make_mlp();
  network.net->eval();
  prune_weights(*network.net, {"0.weight", "3.weight"}, 0.7);
  return network;
}

TEST(ConvertInt8, RunsWhereItBeatsDenseAndCsr) {
  const at::NoGradGuard no_grad;
  struct Case {
    double dense_s, int8_s, csr_s;
    std::string layout, words;
  };
  for (const auto& [dense_s, int8_s, csr_s, layout, words] :
       {Case{4e-4, 1e-4, 2e-4, "bsr", "bsr int8 100.0 us, csr 200.0 us, dense 400.0 us, torch dense int8 360.0 us"},
        Case{4e-4, 1e-4, 1.02e-4, "dense", "int8 does not win"}, Case{1e-4, 1.5e-4, 2e-4, "dense", "int8 does not win"}}) {
    auto network = pruned_mlp();
    const auto expected = network.net->forward(network.input);
    for (const auto& decision :
         convert(*network.net, network.forward(), {.timer = int8_timer(dense_s, int8_s, csr_s), .dtype = "int8"})) {
      if (layout == "bsr") {
        EXPECT_EQ(decision.layout, "bsr") << decision.reason;
        EXPECT_EQ(decision.kernel, "bsr-int8");
        EXPECT_NE(decision.reason.find("relative error"), std::string::npos) << decision.reason;
      } else {
        EXPECT_NE(decision.layout, "bsr") << decision.reason;
      }
      EXPECT_NE(decision.reason.find(words), std::string::npos) << decision.reason;
    }
    const auto off = (network.net->forward(network.input) - expected).norm().item<double>();
    EXPECT_LT(off, 0.05 * expected.norm().item<double>());
    EXPECT_EQ(off > 1e-5, layout == "bsr") << off;
  }
}

TEST(ConvertInt8, MeasuresByItself) {
  const at::NoGradGuard no_grad;
  auto network = pruned_mlp();
  for (const auto& decision : convert(*network.net, network.forward(), {.dtype = "int8"})) {
    EXPECT_NE(decision.reason.find("torch dense int8"), std::string::npos) << decision.reason;
  }
}

TEST(ConvertInt8, CalibrationFixesOneScalePerLayer) {
  const at::NoGradGuard no_grad;
  auto network = pruned_mlp();
  const auto batch = at::randn({8, 96});
  int runs = 0;
  convert(*network.net, network.forward(), {.force = true, .dtype = "int8", .calibration = [&] {
                                              ++runs;
                                              network.net->forward(batch);
                                            }});
  EXPECT_EQ(runs, 1);
  auto* first = network.net->ptr(0)->as<nn::SparseLinear>();
  ASSERT_NE(first, nullptr);
  EXPECT_FLOAT_EQ(first->input_scale.item<float>(), batch.abs().max().item<float>() / 127);
  EXPECT_EQ(estimate(*network.net, network.forward(), Profile::load("generic-cpu")).layers()[0].kernel, "bsr-int8");
}

TEST(ConvertInt8, RefusesWhatDoesNotGoTogether) {
  auto network = pruned_mlp();
  const auto before = snapshot(*network.net);
  const auto refuses = [&](const ConvertOptions& options) {
    EXPECT_THROW(convert(*network.net, network.forward(), options), c10::ValueError);
  };
  refuses({.dtype = "int4"});
  refuses({.profile = Profile::load("generic-cpu"), .dtype = "int8"});
  refuses({.calibration = [] {}});
  refuses({.dtype = "int8", .calibration = [] {}});
  refuses({.dtype = "int8", .calibration = [&] {
             network.net->forward(at::full({2, 96}, std::numeric_limits<double>::infinity()));
           }});
  EXPECT_TRUE(same(before, snapshot(*network.net)));
}

}  // namespace
}  // namespace jouleprune::tests
