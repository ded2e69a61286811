// Convolutions in int8: planned, converted by the clock, calibrated, fused.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand_like.h>
#include <gtest/gtest.h>
#include <jouleprune/ops.h>
#include <jouleprune/prune.h>
#include <jouleprune/value_errors.h>

#include <algorithm>
#include <set>
#include <vector>

#include "prune/networks.h"

namespace jouleprune::tests {
namespace {

using Options = torch::nn::Conv2dOptions;

/// A replaced convolution, one that switches in place, and a head.
Network convolutions(const Options& first, int64_t batch = 3) {
  torch::manual_seed(29);
  torch::nn::Sequential net(torch::nn::Conv2d(first), torch::nn::BatchNorm2d(first.out_channels()), torch::nn::ReLU(),
                            nn::Conv2d(Options(first.out_channels(), 24, 3).stride(2)), torch::nn::ReLU(),
                            torch::nn::Conv2d(Options(24, 10, 1)));
  net->eval();
  return {net, at::randn({batch, first.in_channels(), 13, 12})};
}

const nn::SparseConv2dImpl* sparse_of(const std::shared_ptr<torch::nn::Module>& layer) {
  if (const auto* ours = layer->as<nn::Conv2d>()) return ours->sparse().get();
  return layer->as<nn::SparseConv2d>();
}

PrunerOptions options_for(Network& network, const std::string& pattern, double share) {
  PrunerOptions options{.profile = Profile::load("generic-cpu"), .pattern = pattern, .dtype = "int8"};
  options.energy = Budget::percent(100);
  const Pruner probe(*network.net, network.forward(), options);
  options.energy = Budget::joules(probe.minimum_j() + share * (probe.dense_j() - probe.minimum_j()));
  return options;
}

std::vector<Options> shapes() {
  return {Options(16, 32, 3).padding(1), Options(7, 30, 3).padding(1).bias(false), Options(18, 24, 3).groups(3),
          Options(24, 24, 3).groups(24).padding(1), Options(33, 64, 1), Options(12, 20, {1, 5}).padding({0, 2}).stride({2, 1})};
}

TEST(Int8Convolutions, ConvertedNetworkCostsWhatWasPlanned) {
  std::set<std::string> kinds;
  for (const auto& shape : shapes()) {
    for (const char* pattern : {"1x4", "16x4", "auto"}) {
      auto network = convolutions(shape);
      Pruner pruner(*network.net, network.forward(), options_for(network, pattern, 0.05));
      const auto plan = pruner.prune_now();
      const at::NoGradGuard no_grad;
      const auto expected = network.net->forward(network.input);
      convert(*network.net, network.forward(), {.plan = plan});
      EXPECT_EQ(estimate(*network.net, network.forward(), Profile::load("generic-cpu")).total_j(), pruner.energy_j()) << pattern;
      EXPECT_LE(pruner.energy_j(), pruner.budget_j());
      for (const auto& layer : plan.layers) {
        const auto* sparse = sparse_of(network.net->ptr(std::stoul(layer.name)));
        ASSERT_EQ(sparse != nullptr, layer.layout != "dense") << layer.name << ": " << layer.reason;
        if (sparse == nullptr) continue;
        EXPECT_EQ(sparse->is_int8(), layer.kernel == "bsr-int8") << layer.name;
        kinds.insert(layer.kernel);
      }
      EXPECT_LT((network.net->forward(network.input) - expected).norm().item<double>(), 0.05 * expected.norm().item<double>());
    }
  }
  EXPECT_TRUE(kinds.contains("bsr-int8"));
}

TEST(Int8Convolutions, MasksKeepChannelsAtATap) {
  auto network = convolutions(Options(16, 32, 3).padding(1));
  const auto plan = make_plan(*network.net, network.forward(), options_for(network, "1x4", 0.02));
  const auto mask = unpack_mask(plan.masks.at("0.weight"), at::IntArrayRef{32, 16, 3, 3}).view({32, 4, 4, 9});
  EXPECT_TRUE(mask.all(2).eq(mask.any(2)).all().item<bool>());
  EXPECT_LT(mask.sum().item<int64_t>(), mask.numel());
}

Network pruned_net() {
  auto network = convolutions(Options(16, 32, 3).padding(1).bias(false));
  const at::NoGradGuard no_grad;
  for (auto& parameter : network.net->named_parameters()) {
    if (parameter.value().dim() == 4) parameter.value().mul_(at::rand_like(parameter.value()).gt(0.7));
  }
  for (auto& buffer : network.net->named_buffers()) {
    if (buffer.key() == "1.running_mean") buffer.value().normal_();
    if (buffer.key() == "1.running_var") buffer.value().uniform_(0.5, 2);
  }
  return network;
}

TEST(Int8Convolutions, ForcedCalibratedAndFused) {
  const at::NoGradGuard no_grad;
  auto network = pruned_net();
  const auto batch = at::randn({4, 16, 13, 12});
  const auto expected = network.net->forward(network.input);
  convert(*network.net, network.forward(), {.force = true, .fuse = true, .dtype = "int8", .calibration = [&] { network.net->forward(batch); }});
  const auto why = explain(*network.net);
  EXPECT_NE(why.find("fused BatchNorm2d 1 and ReLU 2"), std::string::npos) << why;
  EXPECT_NE(why.find("fused ReLU 4"), std::string::npos) << why;
  EXPECT_NE(why.find("relative error"), std::string::npos) << why;
  const auto* first = sparse_of(network.net->ptr(0));
  ASSERT_NE(first, nullptr);
  EXPECT_TRUE(first->is_int8() && first->named_buffers().contains("bias"));
  EXPECT_EQ(first->activation, "relu");
  EXPECT_FLOAT_EQ(first->input_scale.item<float>(), batch.abs().max().item<float>() / 127);
  EXPECT_TRUE(sparse_of(network.net->ptr(3))->is_int8() && sparse_of(network.net->ptr(5))->is_int8());
  const double off = (network.net->forward(network.input) - expected).norm().item<double>() / expected.norm().item<double>();
  EXPECT_LT(off, 0.05);  // of int8: a norm that was folded wrongly is off by far more
  const auto report = estimate(*network.net, network.forward(), Profile::load("generic-cpu"));
  EXPECT_EQ(report.layers()[0].kernel, "bsr-int8");
}

/// Asks for dense once and then seven pairs, as each race does; the first race of three is int8's, the second that of csr.
Timer race_timer(double dense_s, double int8_s, double csr_s) {
  auto calls = std::make_shared<int>(0);
  return [=](const std::function<void()>& call) {
    call();
    const int position = (*calls)++ % 45, within = position % 15;
    if (within == 0 || within % 2 == 1) return dense_s;
    return position < 15 ? int8_s : position < 30 ? csr_s : 0.9 * dense_s;
  };
}

TEST(Int8Convolutions, TheClockDecides) {
  const at::NoGradGuard no_grad;
  for (const bool wins : {true, false}) {
    auto network = pruned_net();
    const auto decisions = convert(*network.net, network.forward(), {.timer = race_timer(4e-4, wins ? 1e-4 : 3e-4, 2e-4), .dtype = "int8"});
    ASSERT_EQ(decisions.size(), 3u);
    for (const auto& decision : decisions) {
      EXPECT_EQ(decision.kernel == "bsr-int8", wins) << decision.reason;
      EXPECT_NE(decision.reason.find("torch dense int8 360.0 us"), std::string::npos) << decision.reason;
      EXPECT_NE(decision.candidates.find("bsr-int8 int8: "), std::string::npos) << decision.candidates;
    }
    EXPECT_EQ(sparse_of(network.net->ptr(3)) != nullptr && sparse_of(network.net->ptr(3))->is_int8(), wins);
  }
}

}  // namespace
}  // namespace jouleprune::tests
