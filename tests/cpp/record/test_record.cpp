#include "record/record.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_nested_tensor_from_tensor_list.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/relu.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/functional.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/pooling.h>
#include <torch/nn/modules/rnn.h>

#include <map>
#include <stdexcept>
#include <thread>

namespace {

namespace nn = torch::nn;
using jouleprune::Entry;
using jouleprune::Workload;
using jouleprune::record::NamedTensors;

NamedTensors named(const nn::Module& module) {
  NamedTensors tensors;
  for (const auto& item : module.named_parameters()) tensors.emplace_back(item.key(), item.value());
  for (const auto& item : module.named_buffers()) tensors.emplace_back(item.key(), item.value());
  return tensors;
}

std::map<std::string, int64_t> macs(const Workload& workload) {
  std::map<std::string, int64_t> total;
  for (const Entry& entry : workload.entries) {
    if (entry.macs > 0) total[entry.name] += entry.macs;
  }
  return total;
}

using Macs = std::map<std::string, int64_t>;

nn::Sequential lenet() {
  nn::Sequential net(nn::Conv2d(1, 20, 5), nn::ReLU(), nn::MaxPool2d(2), nn::Conv2d(20, 50, 5), nn::BatchNorm2d(50),
                     nn::ReLU(), nn::MaxPool2d(2), nn::Functional([](const at::Tensor& x) { return x.flatten(1); }),
                     nn::Linear(800, 500), nn::ReLU(), nn::Linear(500, 10));
  net->eval();
  return net;
}

TEST(Record, SequentialByName) {
  nn::Sequential net = lenet();
  const at::Tensor x = at::ones({3, 1, 28, 28});
  const Workload workload = jouleprune::record::run([&] { net->forward(x); }, named(*net), {});
  // Output pixels x input channels x taps x output channels.
  EXPECT_EQ(macs(workload), (Macs{{"0", 3 * 576 * 25 * 20},
                                  {"3", 3 * 64 * 20 * 25 * 50},
                                  {"8", 3 * 800 * 500},
                                  {"10", 3 * 500 * 10}}));
  EXPECT_EQ(workload.batch, 3);
  EXPECT_EQ(workload.count, 3);
  EXPECT_TRUE(workload.unknown_ops.empty());
  EXPECT_EQ(workload.entries[0].weight, "0.weight");
}

TEST(Record, WithoutNamesByOrderOfCall) {
  nn::Sequential net = lenet();
  const at::Tensor x = at::ones({1, 1, 28, 28});
  jouleprune::record::Options options;
  options.batch = 7;
  const Workload workload = jouleprune::record::run([&] { net->forward(x); }, {}, options);
  EXPECT_EQ(macs(workload),
            (Macs{{"conv2d_0", 288'000}, {"conv2d_1", 1'600'000}, {"linear_0", 400'000}, {"linear_1", 5'000}}));
  for (const Entry& entry : workload.entries) EXPECT_TRUE(entry.weight.empty()) << entry.name;
  EXPECT_EQ(workload.batch, 7);
}

TEST(Record, Lstm) {
  nn::LSTM lstm(nn::LSTMOptions(5, 7).num_layers(2).bidirectional(true));
  const Workload workload =
      jouleprune::record::run([&] { lstm->forward(at::ones({3, 2, 5})); }, named(*lstm), {});
  Macs expected;
  for (const std::string direction : {"", "_reverse"}) {
    expected["weight_ih_l0" + direction] = 6 * 28 * 5;
    expected["weight_ih_l1" + direction] = 6 * 28 * 14;
    expected["weight_hh_l0" + direction] = expected["weight_hh_l1" + direction] = 6 * 28 * 7;
  }
  EXPECT_EQ(macs(workload), expected);
}

TEST(Record, ZerosAreCountedOnlyWhenAskedFor) {
  nn::Linear layer(8, 4);
  {
    const at::NoGradGuard no_grad;
    layer->weight.fill_(1).select(0, 1).zero_();
  }
  const uint32_t version = layer->weight._version();
  jouleprune::record::Options options;
  const auto forward = [&] { layer->forward(at::ones({2, 8})); };
  EXPECT_EQ(jouleprune::record::run(forward, named(*layer), options).entries[0].nnz, 24);
  options.count_zeros = false;
  EXPECT_EQ(jouleprune::record::run(forward, named(*layer), options).entries[0].nnz, 32);
  EXPECT_EQ(layer->weight._version(), version);
  EXPECT_TRUE(layer->weight.requires_grad());
}

TEST(Record, MeasuresActivations) {
  nn::Linear layer(4, 4);
  at::Tensor x = at::ones({2, 4});
  x.select(1, 0).zero_();
  jouleprune::record::Options options;
  options.measure_activations = true;
  EXPECT_EQ(jouleprune::record::run([&] { layer->forward(x); }, named(*layer), options).entries[0].input_density, 0.75);
}

TEST(Record, RunsWithoutGradients) {
  nn::Linear layer(4, 4);
  at::Tensor y;
  jouleprune::record::run([&] { y = layer->forward(at::ones({2, 4})); }, {}, {});
  EXPECT_FALSE(y.requires_grad());
  EXPECT_TRUE(layer->forward(at::ones({2, 4})).requires_grad());
}

TEST(Record, MaskProductsAreNoLayersAndKeepTheName) {
  const at::Tensor weight = at::ones({4, 8}), mask = at::ones({4, 8});
  mask.select(0, 0).zero_();
  const NamedTensors tensors{{"fc.weight_orig", weight}, {"fc.weight_mask", mask}};
  const Workload workload =
      jouleprune::record::run([&] { at::matmul(at::ones({2, 8}), (mask * weight).t()); }, tensors, {});
  ASSERT_EQ(workload.entries.size(), 1U);
  EXPECT_EQ(workload.entries[0].name, "fc");
  EXPECT_EQ(workload.entries[0].weight, "fc.weight");
  EXPECT_EQ(workload.entries[0].nnz, 24);
  EXPECT_EQ(workload.entries[0].macs, 2 * 4 * 8);
}

TEST(Record, NestedBeginsAndLoneEndsAreRefused) {
  EXPECT_THROW(jouleprune::record::end(), std::logic_error);
  jouleprune::record::begin({}, {});
  EXPECT_THROW(jouleprune::record::begin({}, {}), std::logic_error);
  EXPECT_THROW(jouleprune::record::run([] {}, {}, {}), std::logic_error);
  at::relu(at::ones({2}));
  EXPECT_EQ(jouleprune::record::end().entries.size(), 1U);  // the first recording went on
}

TEST(Record, AThrowingForwardLeavesNoCallback) {
  EXPECT_THROW(jouleprune::record::run([] { throw std::domain_error("mine"); }, {}, {}), std::domain_error);
  EXPECT_THROW(jouleprune::record::end(), std::logic_error);
}

TEST(Record, ErrorsOfCallbacksAreRaisedByEnd) {
  // A nested tensor has no sizes: reading them throws inside the callback.
  const at::Tensor nested = at::_nested_tensor_from_tensor_list({at::ones({2, 3}), at::ones({4, 3})});
  try {
    jouleprune::record::run([&] { at::relu(nested); }, {}, {});
    FAIL() << "expected an error";
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("record: aten::relu"), std::string::npos) << error.what();
  }
  EXPECT_THROW(jouleprune::record::end(), std::logic_error);
}

TEST(Record, ThreadsAreIndependent) {
  std::vector<Workload> workloads(8);
  std::vector<std::thread> threads;
  jouleprune::record::begin({}, {});  // this thread's own recording sees nothing of theirs
  for (size_t i = 0; i < workloads.size(); ++i) {
    threads.emplace_back([&, i] {
      nn::Linear layer(8, static_cast<int64_t>(i) + 1);
      const auto forward = [&] {
        for (int repeat = 0; repeat < 50; ++repeat) layer->forward(at::ones({2, 8}));
      };
      workloads[i] = jouleprune::record::run(forward, named(*layer), {});
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(jouleprune::record::end().entries.empty());
  for (size_t i = 0; i < workloads.size(); ++i) {
    EXPECT_EQ(macs(workloads[i]), (Macs{{"linear", 50 * 2 * 8 * (static_cast<int64_t>(i) + 1)}}));
  }
}

}  // namespace
