// Two small networks, their inputs, and what the tests look at in a module.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>
#include <jouleprune/prune.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/dropout.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/pooling.h>

#include <map>
#include <string>
#include <vector>

namespace jouleprune::tests {

struct Network {
  torch::nn::Sequential net{nullptr};
  at::Tensor input;
  Forward forward() const {
    auto net_ = net;
    auto input_ = input;
    return {[net_, input_]() mutable { net_->forward(input_); }, input.size(0)};
  }
};

inline Network make_mlp(int64_t batch = 4) {
  torch::manual_seed(11);
  torch::nn::Sequential net(torch::nn::Linear(96, 64), torch::nn::ReLU(), torch::nn::Dropout(0.5), torch::nn::Linear(64, 48),
                            torch::nn::ReLU(), torch::nn::Linear(48, 10));
  return {net, at::randn({batch, 96})};
}

inline Network make_cnn(int64_t batch = 2) {
  torch::manual_seed(13);
  torch::nn::Sequential net(torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 8, 3).padding(1)), torch::nn::BatchNorm2d(8),
                            torch::nn::ReLU(), torch::nn::MaxPool2d(2), torch::nn::Conv2d(torch::nn::Conv2dOptions(8, 16, 3)),
                            torch::nn::ReLU(), torch::nn::MaxPool2d(2), torch::nn::Flatten(), torch::nn::Linear(16 * 3 * 3, 10));
  return {net, at::randn({batch, 1, 16, 16})};
}

inline Network make_network(const std::string& name) { return name == "mlp" ? make_mlp() : make_cnn(); }

/// Copies of all parameters and buffers.
inline std::map<std::string, at::Tensor> snapshot(const torch::nn::Module& module) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& parameter : module.named_parameters()) {
    tensors[parameter.key()] = parameter.value().detach().clone();
  }
  for (const auto& buffer : module.named_buffers()) {
    tensors[buffer.key()] = buffer.value().clone();
  }
  return tensors;
}

inline bool same(const std::map<std::string, at::Tensor>& a, const std::map<std::string, at::Tensor>& b) {
  if (a.size() != b.size()) {
    return false;
  }
  for (const auto& [name, tensor] : a) {
    const auto it = b.find(name);
    if (it == b.end() || !tensor.equal(it->second)) {
      return false;
    }
  }
  return true;
}

/// A clock for convert() that says what the test wants. A race asks 15 times: once for dense alone, then 7 times dense, sparse.
inline Timer fixed_timer(double dense_s, double sparse_s) {
  auto calls = std::make_shared<int>(0);
  return [=](const std::function<void()>& call) {
    call();
    const int position = (*calls)++ % 15;
    return position == 0 || position % 2 == 1 ? dense_s : sparse_s;
  };
}

}  // namespace jouleprune::tests
