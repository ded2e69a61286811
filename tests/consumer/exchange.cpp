// exchange <folder>: loads the states of sparse layers that Python saved, in every layout, runs them, and saves them for Python.
#include <jouleprune/jouleprune.h>
#include <torch/torch.h>

#include <algorithm>
#include <string>

#include "read_tensor.h"

namespace jp = jouleprune;

namespace {

/// `run`: the module's first output on the steps of the folder.
template <typename Module, typename Run>
void exchange(const std::string& folder, const std::string& name, Module module, const Run& run) {
  torch::load(module, folder + "/" + name + ".pt");
  module->eval();
  const auto expected = read_tensor(folder + "/" + name);
  const torch::Tensor output = run(module, read_tensor(folder + "/steps"));
  const double difference = (output - expected).abs().max().item<double>();
  std::cout << name << ": outputs differ by at most " << difference << '\n';
  REQUIRE(output.sizes() == expected.sizes());
  REQUIRE(difference <= 1e-5 * std::max(1.0, expected.abs().max().item<double>()));
  torch::save(module, folder + "/" + name + "_from_cpp.pt");
}

}  // namespace

int main(int argc, char** argv) {
  REQUIRE(argc == 2);
  const std::string folder = argv[1];
  const torch::NoGradGuard no_grad;
  using jp::nn::SparseLinear;
  const torch::nn::Sequential layers(SparseLinear(24, 20), jp::nn::Linear(20, 16),
                                     SparseLinear(jp::nn::SparseLinearOptions(16, 32, /*bias=*/false)), SparseLinear(32, 8));
  exchange(folder, "layers", layers, [](auto& module, const auto& x) { return module->forward(x); });
  REQUIRE(layers->ptr(2)->as<SparseLinear>()->options.block_size == (jp::nn::BlockSize{16, 1}));
  REQUIRE(layers->ptr(3)->as<SparseLinear>()->is_int8());
  const jp::nn::SparseConv2d conv(torch::nn::Conv2dOptions(5, 6, {2, 3}).padding({1, 0}));
  exchange(folder, "conv", conv, [](auto& module, const auto& x) { return module->forward(x); });
  REQUIRE(conv->is_int8());
  exchange(folder, "attention", jp::nn::SparseMultiheadAttention(24, 3),
           [](auto& module, const auto& x) { return std::get<0>(module->forward(x, x, x)); });
  exchange(folder, "lstm", jp::nn::SparseLSTM(24, 8), [](auto& module, const auto& x) { return std::get<0>(module->forward(x)); });
  return 0;
}
