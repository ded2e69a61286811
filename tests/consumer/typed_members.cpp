// A module that holds its layers as typed members: jouleprune's Linear and Conv2d take the place of torch's.
#include <jouleprune/jouleprune.h>
#include <torch/torch.h>

#include "check.h"

namespace jp = jouleprune;

struct NetImpl : torch::nn::Module {
  NetImpl() {
    conv = register_module("conv", jp::nn::Conv2d(torch::nn::Conv2dOptions(1, 16, 3).padding(1)));
    fc1 = register_module("fc1", jp::nn::Linear(16 * 8 * 8, 128));
    fc2 = register_module("fc2", jp::nn::Linear(128, 10));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    return fc2(torch::relu(fc1(torch::max_pool2d(torch::relu(conv(x)), 2).flatten(1))));
  }
  jp::nn::Conv2d conv{nullptr};
  jp::nn::Linear fc1{nullptr}, fc2{nullptr};
};
TORCH_MODULE(Net);

int main() {
  torch::manual_seed(0);
  Net net;
  const auto x = torch::randn({1, 1, 16, 16});
  const jp::Forward forward{[&] { net->forward(x); }, 1};
  const auto profile = jp::Profile::load("generic-cpu");
  jp::Pruner pruner(*net, forward, {.energy = jp::Budget::percent(50), .profile = profile});
  pruner.prune_now();

  const torch::NoGradGuard no_grad;
  const auto masked_dense = net->forward(x);
  for (const auto& decision : jp::convert(*net, forward, {.profile = profile, .plan = pruner.plan()})) {
    REQUIRE(decision.layout == "csr");
  }
  std::cout << jp::explain(*net) << '\n' << *net << '\n';
  REQUIRE(net->fc1->is_sparse());
  REQUIRE(jp::estimate(*net, forward, profile).total_j() == pruner.energy_j());
  REQUIRE((net->forward(x) - masked_dense).abs().max().item<double>() < 1e-4);

  torch::nn::Linear dense(32, 16);
  dense->weight.mul_(dense->weight.gt(0));
  auto sparse = jp::nn::SparseLinear::from_dense(dense, "csr");
  const auto input = torch::randn({3, 32});
  REQUIRE((sparse->forward(input) - dense->forward(input)).abs().max().item<double>() < 1e-5);
  REQUIRE(sparse->to_dense().equal(dense->weight));
  return 0;
}
