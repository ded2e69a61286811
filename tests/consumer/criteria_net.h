// The network of plans_criteria.py, with its weights and buffers.
#pragma once
#include <torch/torch.h>

#include <string>

#include "read_tensor.h"

/// make_net() of plans_criteria.py.
inline torch::nn::Sequential load_criteria_net(const std::string& folder) {
  torch::nn::Sequential net(torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 12, 3).bias(false)), torch::nn::BatchNorm2d(12), torch::nn::ReLU(),
                            torch::nn::MaxPool2d(2), torch::nn::Conv2d(torch::nn::Conv2dOptions(12, 18, 3).groups(3)), torch::nn::ReLU(),
                            torch::nn::Flatten(), torch::nn::Linear(18 * 5 * 5, 32), torch::nn::GELU(), torch::nn::Linear(32, 10));
  const torch::NoGradGuard no_grad;
  for (auto& parameter : net->named_parameters()) parameter.value().copy_(read_tensor(folder + "/criteria_" + parameter.key()));
  for (auto& buffer : net->named_buffers()) {
    if (buffer.value().is_floating_point()) buffer.value().copy_(read_tensor(folder + "/criteria_" + buffer.key()));
  }
  net->eval();
  return net;
}
