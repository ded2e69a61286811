// convert() with fuse = true: batch norms folded, activations applied by the sparse op; what does not fit stays.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/rand_like.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>
#include <gtest/gtest.h>
#include <jouleprune/nn_sequence.h>
#include <jouleprune/prune.h>

#include "prune/networks.h"

namespace jouleprune::tests {
namespace {

/// Prunes every weight and gives every norm statistics of its own.
void settle(torch::nn::Module& module) {
  const at::NoGradGuard no_grad;
  for (auto& parameter : module.named_parameters()) {
    if (parameter.value().dim() > 1) {
      parameter.value().mul_(at::rand_like(parameter.value()).gt(0.6));
    } else {
      parameter.value().copy_(at::randn_like(parameter.value()));
    }
  }
  for (auto& buffer : module.named_buffers()) {
    if (buffer.key().ends_with("running_mean")) buffer.value().copy_(at::randn_like(buffer.value()));
    if (buffer.key().ends_with("running_var")) buffer.value().copy_(at::rand_like(buffer.value()).add(0.5));
  }
}

template <typename Module>
int64_t count(const torch::nn::Module& net) {
  int64_t found = 0;
  for (const auto& module : net.modules(/*include_self=*/false)) found += module->template as<Module>() != nullptr;
  return found;
}

/// Converts with and without fusing; outputs must agree, the sentences are returned as explain() shows them.
std::string fused(torch::nn::Sequential net, const at::Tensor& x) {
  const at::NoGradGuard no_grad;
  settle(*net);
  const auto before = net->is_training();
  net->eval();
  const auto expected = net->forward(x);
  net->train(before);
  convert(*net, {[&] { net->forward(x); }, x.size(0)}, {.force = true, .fuse = true});
  net->eval();
  const double off = (net->forward(x) - expected).abs().max().template item<double>();
  EXPECT_LT(off, 1e-4 * std::max(1.0, expected.abs().max().template item<double>()));
  return explain(*net);
}

TEST(ConvertFuse, FoldsNormsAndActivations) {
  torch::manual_seed(2);
  using Conv = torch::nn::Conv2dOptions;
  torch::nn::Sequential net(torch::nn::Conv2d(Conv(3, 8, 3).padding(1).bias(false)), torch::nn::BatchNorm2d(8), torch::nn::SiLU(),
                            torch::nn::Conv2d(Conv(8, 6, 3)), torch::nn::BatchNorm2d(torch::nn::BatchNorm2dOptions(6).affine(false)),
                            torch::nn::Flatten(), torch::nn::Linear(6 * 4 * 4, 10), torch::nn::BatchNorm1d(10), torch::nn::GELU(),
                            torch::nn::Linear(10, 4), torch::nn::ReLU());
  net->eval();
  const auto why = fused(net, at::randn({3, 3, 6, 6}));
  EXPECT_NE(why.find("fused BatchNorm2d 1 and SiLU 2"), std::string::npos) << why;
  EXPECT_NE(why.find("fused BatchNorm2d 4"), std::string::npos) << why;
  EXPECT_NE(why.find("fused BatchNorm1d 7 and GELU 8"), std::string::npos) << why;
  EXPECT_NE(why.find("fused ReLU 10"), std::string::npos) << why;
  EXPECT_EQ(count<torch::nn::Identity>(*net), 6);
  EXPECT_EQ(count<torch::nn::BatchNorm2d>(*net) + count<torch::nn::BatchNorm1d>(*net), 0);
  EXPECT_EQ(net->ptr(0)->as<nn::SparseConv2d>()->activation, "silu");
  EXPECT_TRUE(net->ptr(0)->named_parameters().contains("bias"));
}

TEST(ConvertFuse, FoldsIntoInt8Layers) {
  torch::manual_seed(4);
  const at::NoGradGuard no_grad;
  torch::nn::Sequential net(torch::nn::Linear(torch::nn::LinearOptions(24, 20).bias(false)), torch::nn::BatchNorm1d(20),
                            torch::nn::ReLU(), nn::Linear(20, 10), torch::nn::BatchNorm1d(10), torch::nn::GELU(),
                            torch::nn::Linear(10, 4), torch::nn::SiLU());
  settle(*net);
  net->eval();
  const auto x = at::randn({7, 24});
  const auto exact = net->forward(x);
  convert(*net, {[&] { net->forward(x); }, 7}, {.force = true, .fuse = true, .dtype = "int8"});
  const auto why = explain(*net);
  EXPECT_NE(why.find("fused BatchNorm1d 1 and ReLU 2"), std::string::npos) << why;
  EXPECT_NE(why.find("fused BatchNorm1d 4 and GELU 5"), std::string::npos) << why;
  EXPECT_NE(why.find("fused SiLU 7"), std::string::npos) << why;
  EXPECT_EQ(count<torch::nn::Identity>(*net), 5);
  auto* first = net->ptr(0)->as<nn::SparseLinear>();
  ASSERT_NE(first, nullptr);
  EXPECT_TRUE(first->is_int8() && first->named_buffers().contains("bias") && first->options.bias);
  EXPECT_EQ(first->activation, "relu");
  const double off = (net->forward(x) - exact).norm().item<double>() / exact.norm().item<double>();
  EXPECT_LT(off, 0.05);  // of int8: a norm that was folded wrongly is off by far more
  EXPECT_THROW(first->scale_rows(at::ones({19}), at::zeros({20})), c10::ValueError);
}

TEST(ConvertFuse, FoldsBehindConv1dAndOurOwnLayers) {
  torch::manual_seed(3);
  torch::nn::Sequential net(torch::nn::Conv1d(torch::nn::Conv1dOptions(3, 8, 3).bias(false)), torch::nn::BatchNorm1d(8),
                            torch::nn::ReLU(), torch::nn::Flatten(), nn::Linear(8 * 4, 10), torch::nn::BatchNorm1d(10),
                            torch::nn::ReLU());
  net->eval();
  const auto why = fused(net, at::randn({5, 3, 6}));
  EXPECT_NE(why.find("fused BatchNorm1d 1 and ReLU 2"), std::string::npos) << why;
  EXPECT_NE(why.find("fused BatchNorm1d 5 and ReLU 6"), std::string::npos) << why;
  const auto copy = std::dynamic_pointer_cast<torch::nn::SequentialImpl>(net->clone());
  const auto x = at::randn({2, 3, 6});
  EXPECT_TRUE(copy->forward(x).equal(net->forward(x)));
}

TEST(ConvertFuse, LeavesWhatDoesNotFit) {
  torch::manual_seed(4);
  // over the 6 rows of each sample, not over features: [n, 6, 6]
  torch::nn::Sequential rows(torch::nn::Linear(6, 6), torch::nn::BatchNorm1d(6));
  rows->eval();
  EXPECT_EQ(fused(rows, at::randn({3, 6, 6})).find("fused"), std::string::npos);
  // approximate, not between the layer and its norm, and without running statistics
  torch::nn::Sequential others(torch::nn::Linear(6, 8), torch::nn::GELU(torch::nn::GELUOptions().approximate("tanh")),
                               torch::nn::Linear(8, 8), torch::nn::Dropout(), torch::nn::BatchNorm1d(8), torch::nn::Linear(8, 8),
                               torch::nn::BatchNorm1d(torch::nn::BatchNorm1dOptions(8).track_running_stats(false)));
  others->eval();
  EXPECT_EQ(fused(others, at::randn({4, 6})).find("fused"), std::string::npos);
}

TEST(ConvertFuse, NothingInTrainingModeOrUnlessAsked) {
  for (const bool training : {true, false}) {
    auto network = make_cnn();
    settle(*network.net);
    network.net->train(training);
    convert(*network.net, network.forward(), {.force = true, .fuse = training});
    EXPECT_EQ(count<torch::nn::Identity>(*network.net), 0);
    EXPECT_EQ(count<torch::nn::BatchNorm2d>(*network.net), 1);
    EXPECT_EQ(explain(*network.net).find("not fused: in training mode") != std::string::npos, training);
  }
}

TEST(ConvertFuse, FusedLayersAreFreeOfTheirActivationsJoules) {
  const auto profile = Profile::load("generic-cpu");
  double joules[2];
  for (const bool fuse : {false, true}) {
    auto network = make_cnn();
    settle(*network.net);
    network.net->eval();
    convert(*network.net, network.forward(), {.force = true, .fuse = fuse});
    joules[fuse] = estimate(*network.net, network.forward(), profile).total_j();
  }
  EXPECT_LE(joules[1], joules[0]);
}

}  // namespace
}  // namespace jouleprune::tests
