// Plans that choose blocks, vectors, n:m and int8: convert() makes the module of each layout, and the joules are the planned ones.
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <jouleprune/nn_attention.h>
#include <jouleprune/ops.h>
#include <jouleprune/prune.h>
#include <jouleprune/value_errors.h>

#include <algorithm>
#include <set>

#include "prune/networks.h"

namespace jouleprune::tests {
namespace {

struct Case {
  const char *pattern, *dtype;
};

Network wide(int64_t batch = 32) {
  torch::manual_seed(19);
  torch::nn::Sequential net(torch::nn::Linear(250, 192), torch::nn::ReLU(), nn::Linear(192, 130));
  net->eval();
  return {net, at::randn({batch, 250})};
}

Budget middle(Network& network, const PrunerOptions& options) {
  PrunerOptions all = options;
  all.energy = Budget::percent(100);
  const Pruner probe(*network.net, network.forward(), all);
  return Budget::joules((probe.minimum_j() + probe.dense_j()) / 2);
}

PrunerOptions options_for(Network& network, const std::string& pattern, const std::string& dtype = "") {
  PrunerOptions options{.profile = Profile::load("generic-cpu"), .pattern = pattern, .dtype = dtype};
  options.energy = middle(network, options);
  return options;
}

const nn::SparseLinearImpl* sparse_of(const std::shared_ptr<torch::nn::Module>& layer) {
  if (const auto* ours = layer->as<nn::Linear>()) return ours->sparse().get();
  return layer->as<nn::SparseLinear>();
}

TEST(PlannedLayouts, ConvertedNetworkCostsWhatWasPlanned) {
  std::set<std::string> kinds;
  for (const auto& [pattern, dtype] : {Case{"unstructured", ""}, {"16x1", ""}, {"4x4", ""}, {"3x5", ""}, {"2:4", ""}, {"auto", ""},
                                       {"1x4", "int8"}, {"auto", "int8"}}) {
    auto network = wide();
    Pruner pruner(*network.net, network.forward(), options_for(network, pattern, dtype));
    const auto plan = pruner.prune_now();
    const at::NoGradGuard no_grad;
    const auto expected = network.net->forward(network.input);
    for (const auto& decision : convert(*network.net, network.forward(), {.plan = plan})) {
      const auto planned = std::find_if(plan.layers.begin(), plan.layers.end(), [&](const LayerPlan& layer) { return layer.weight == decision.weight; });
      ASSERT_NE(planned, plan.layers.end());
      EXPECT_EQ(decision.layout, planned->layout) << pattern << ": " << decision.reason;
      EXPECT_EQ(decision.kernel, planned->kernel) << pattern << ": " << decision.reason;
      const auto* sparse = sparse_of(network.net->ptr(decision.name == "0" ? 0 : 2));
      ASSERT_NE(sparse, nullptr) << pattern;
      EXPECT_EQ(sparse->options.layout, planned->layout);
      EXPECT_EQ(sparse->options.dtype, planned->kernel == "bsr-int8" ? "int8" : "");
      const auto [r, c] = sparse->options.block_size;
      if (planned->kernel == "bsr") {
        EXPECT_EQ(planned->pattern, std::to_string(r) + "x" + std::to_string(c));
      }
      kinds.insert(planned->kernel);
    }
    EXPECT_EQ(estimate(*network.net, network.forward(), Profile::load("generic-cpu")).total_j(), pruner.energy_j()) << pattern;
    EXPECT_LE(pruner.energy_j(), pruner.budget_j());
    const double off = (network.net->forward(network.input) - expected).abs().max().item<double>();
    EXPECT_LT(off, std::string(dtype).empty() ? 1e-4 : 0.05 * expected.abs().max().item<double>()) << pattern;
  }
  EXPECT_EQ(kinds, (std::set<std::string>{"csr", "bsr", "bsr-int8"}));
}

TEST(PlannedLayouts, MasksHoldThePattern) {
  auto network = wide();
  const auto plan = make_plan(*network.net, network.forward(), options_for(network, "16x1"));
  const auto mask = unpack_mask(plan.masks.at("0.weight"), at::IntArrayRef{192, 250}).view({12, 16, 250});
  EXPECT_TRUE(mask.all(1).eq(mask.any(1)).all().item<bool>());  // whole vectors
  EXPECT_LT(mask.sum().item<int64_t>(), mask.numel());
  const auto pairs = make_plan(*network.net, network.forward(), options_for(network, "2:4"));
  const auto kept = unpack_mask(pairs.masks.at("0.weight"), at::IntArrayRef{192, 250});
  EXPECT_LE(kept.slice(1, 0, 248).view({192, 62, 4}).sum(2).max().item<int64_t>(), 2);
}

TEST(PlannedLayouts, PlansTravelAsJsonWithoutMasks) {
  auto network = wide();
  Pruner pruner(*network.net, network.forward(), options_for(network, "16x1"));
  const auto plan = Plan::parse(pruner.prune_now().to_json());
  convert(*network.net, network.forward(), {.plan = MaskedPlan(plan)});
  EXPECT_EQ(sparse_of(network.net->ptr(0))->options.block_size, (nn::BlockSize{16, 1}));
  EXPECT_EQ(estimate(*network.net, network.forward(), Profile::load("generic-cpu")).total_j(), pruner.energy_j());
}

TEST(PlannedLayouts, PlansHoldForOtherBatches) {
  auto network = wide();
  Pruner pruner(*network.net, network.forward(), options_for(network, "16x1"));
  const auto plan = pruner.prune_now();
  const auto one = network.input.slice(0, 0, 1);
  EXPECT_NO_THROW(convert(*network.net, {[&] { network.net->forward(one); }, 1}, {.plan = plan}));
  EXPECT_EQ(sparse_of(network.net->ptr(0))->options.layout, "bsr");
}

TEST(PlannedLayouts, SchedulesKeepThePatternsOfTheFirstStep) {
  auto network = wide();
  auto options = options_for(network, "auto", "int8");
  options.schedule = PolynomialDecay{.end_step = 4, .frequency = 2};
  Pruner pruner(*network.net, network.forward(), options);
  pruner.step();
  std::vector<std::string> patterns;
  for (const auto& layer : pruner.plan().layers) patterns.push_back(layer.pattern);
  while (!pruner.done()) pruner.step();
  for (size_t i = 0; i < patterns.size(); ++i) {
    if (patterns[i] != "dense") {
      EXPECT_EQ(pruner.plan().layers[i].pattern, patterns[i]);
    }
  }
  EXPECT_LE(pruner.energy_j(), pruner.budget_j());
}

TEST(PlannedLayouts, ConvolutionsKeepTheirPatternInCsr) {
  auto network = make_cnn();
  network.net->eval();
  Pruner pruner(*network.net, network.forward(), options_for(network, "2:4"));
  const auto plan = pruner.prune_now();
  convert(*network.net, network.forward(), {.plan = plan});
  EXPECT_EQ(estimate(*network.net, network.forward(), Profile::load("generic-cpu")).total_j(), pruner.energy_j());
  for (const auto& layer : plan.layers) {
    if (layer.name != "8") {
      EXPECT_NE(layer.layout, "bsr") << layer.name;
    }
  }
}

/// One of each: typed members that hold several weights.
struct SequenceNetImpl : torch::nn::Module {
  SequenceNetImpl() {
    torch::manual_seed(23);
    conv = register_module("conv", nn::Conv1d(torch::nn::Conv1dOptions(32, 64, 3).padding(1)));
    lstm = register_module("lstm", nn::LSTM(64, 96));
    gru = register_module("gru", nn::GRU(96, 64));
    attention = register_module("attention", nn::MultiheadAttention(64, 4));
  }
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

/// Whether the plan prunes any weight of the layer.
bool decided(const Plan& plan, const std::string& layer) {
  return std::any_of(plan.layers.begin(), plan.layers.end(),
                     [&](const LayerPlan& each) { return each.weight.starts_with(layer) && each.pattern != "dense"; });
}

TEST(PlannedLayouts, TypedMembersOfSeveralWeightsSwitch) {
  for (const char* name : {"generic-cpu", "eyeriss-65nm"}) {
    auto net = std::make_shared<SequenceNetImpl>();
    net->eval();
    const auto x = at::randn({2, 32, 12});
    const Forward forward{[&] { net->forward(x); }, 2};
    const auto profile = Profile::load(name);
    const Pruner probe(*net, forward, {.energy = Budget::percent(100), .profile = profile});
    Pruner pruner(*net, forward, {.energy = Budget::joules((probe.minimum_j() + probe.dense_j()) / 2), .profile = profile});
    const auto plan = pruner.prune_now();
    std::set<std::string> weights;
    for (const auto& layer : plan.layers) weights.insert(layer.weight);
    EXPECT_TRUE(weights.contains("lstm.weight_hh_l0") && weights.contains("gru.weight_ih_l0") &&
                weights.contains("attention.in_proj_weight") && weights.contains("attention.out_proj.weight"));
    const at::NoGradGuard no_grad;
    const auto expected = net->forward(x);
    for (const auto& decision : convert(*net, forward, {.plan = plan, .force = true})) {
      EXPECT_EQ(decision.layout, "csr") << decision.name << ": " << decision.reason;
    }
    EXPECT_EQ(net->conv->is_sparse(), decided(plan, "conv."));  // a plan for a CPU leaves some dense
    EXPECT_EQ(net->lstm->is_sparse(), decided(plan, "lstm."));
    EXPECT_EQ(net->gru->is_sparse(), decided(plan, "gru."));
    EXPECT_EQ(net->attention->is_sparse(), decided(plan, "attention."));
    if (profile.kind() == "asic") {
      EXPECT_TRUE(net->conv->is_sparse() && net->lstm->is_sparse() && net->gru->is_sparse() && net->attention->is_sparse());
    }
    EXPECT_LT((net->forward(x) - expected).abs().max().item<double>(), 1e-4);
    // torch's attention runs three elementwise ops that ours does without: all else costs what was planned.
    const double energy_j = estimate(*net, forward, profile).total_j();
    EXPECT_LE(energy_j, pruner.energy_j()) << name << '\n' << explain(*net);
    EXPECT_GT(energy_j, 0.999 * pruner.energy_j()) << name << '\n' << explain(*net);
    EXPECT_NO_THROW(pruner.step());
  }
}

TEST(PlannedLayouts, TypedMembersOfSeveralWeightsRace) {
  auto net = std::make_shared<SequenceNetImpl>();
  const auto x = at::randn({2, 32, 12});
  const Forward forward{[&] { net->forward(x); }, 2};
  {
    const at::NoGradGuard no_grad;
    for (auto& parameter : net->named_parameters()) {
      if (parameter.value().dim() > 1) parameter.value().mul_(parameter.value().gt(0.05));
    }
  }
  for (const auto& decision : convert(*net, forward, {.timer = fixed_timer(2e-4, 1e-4)})) {
    EXPECT_EQ(decision.layout, "csr") << decision.name << ": " << decision.reason;
  }
  EXPECT_TRUE(net->gru->is_sparse() && net->attention->is_sparse());
}

TEST(PlannedLayouts, ExplainListsWhatCouldRunALayer) {
  setenv("JOULEPRUNE_TUNE", "off", 1);
  auto network = wide();
  Pruner pruner(*network.net, network.forward(), options_for(network, "16x1"));
  const auto plan = pruner.prune_now();
  convert(*network.net, network.forward(), {.plan = plan});
  unsetenv("JOULEPRUNE_TUNE");
  const std::string why = explain(*network.net);
  size_t from = 0;
  for (const char* what : {"    dense float32: ", "    csr float32: ", "    bsr float32 in blocks of 16x1: ", "    bsr-int8 int8: ",
                           "    torch dense bfloat16: ", "    torch dense int8: ", "    (predicted for generic-cpu)"}) {
    const size_t at = why.find(what, from);
    ASSERT_NE(at, std::string::npos) << what << " in\n" << why;
    from = at;
  }
  EXPECT_NE(why.find("us predicted, not measured"), std::string::npos) << why;
  EXPECT_EQ(explain(*network.net->clone()), why);
}

TEST(PlannedLayouts, UnknownDtypesAndPatternsAreNamed) {
  auto network = wide();
  const auto profile = Profile::load("generic-cpu");
  const auto make = [&](const char* pattern, const char* dtype) {
    Pruner(*network.net, network.forward(), {.energy = Budget::percent(50), .profile = profile, .pattern = pattern, .dtype = dtype});
  };
  EXPECT_THROW(make("0x4", ""), PatternError);
  try {
    make("unstructured", "int4");
    FAIL() << "there is no int4";
  } catch (const PatternError& error) {
    EXPECT_NE(std::string(error.what()).find("dtype: expected one of \"\", int8, got \"int4\""), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace jouleprune::tests
