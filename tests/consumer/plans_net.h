// The network of plans.py, with its weights, and the texts beside them.
#pragma once
#include <jouleprune/jouleprune.h>
#include <torch/torch.h>

#include <fstream>
#include <sstream>
#include <string>

#include "read_tensor.h"

/// Net of plans.py.
struct NetImpl : torch::nn::Module {
  NetImpl() {
    conv = register_module("conv", jouleprune::nn::Conv2d(torch::nn::Conv2dOptions(3, 16, 3).padding(1)));
    fc1 = register_module("fc1", jouleprune::nn::Linear(16 * 8 * 8, 256));
    lstm = register_module("lstm", jouleprune::nn::LSTM(64, 48));
    fc2 = register_module("fc2", jouleprune::nn::Linear(48, 130));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    const auto features = torch::relu(fc1(torch::relu(conv(x)).flatten(1)));
    return fc2(std::get<0>(lstm(features.view({4, -1, 64}))));
  }
  jouleprune::nn::Conv2d conv{nullptr};
  jouleprune::nn::Linear fc1{nullptr}, fc2{nullptr};
  jouleprune::nn::LSTM lstm{nullptr};
};
TORCH_MODULE(Net);

inline std::string read_text(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  REQUIRE(file.good() && !text.str().empty());
  return text.str();
}

/// With the weights in the files <stem><name of the weight>.
inline Net load_net(const std::string& stem) {
  Net net;
  const torch::NoGradGuard no_grad;
  for (auto& parameter : net->named_parameters()) parameter.value().copy_(read_tensor(stem + parameter.key()));
  net->eval();
  return net;
}
