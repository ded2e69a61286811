// run_saved script|aoti <folder>: runs what Python saved there and compares with what Python computed.
// Names no symbol of jouleprune.
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/script.h>

#include <algorithm>
#include <string>

#include "read_tensor.h"

namespace {

torch::Tensor run(const std::string& kind, const std::string& folder, const torch::Tensor& input) {
  if (kind == "script") {
    auto model = torch::jit::load(folder + "/model.pt");
    return model.forward({input}).toTensor();
  }
  torch::inductor::AOTIModelPackageLoader model(folder + "/model.pt2");
  return model.run({input}).at(0);
}

}  // namespace

int main(int argc, char** argv) {
  REQUIRE(argc == 3);
  const std::string kind = argv[1];
  const std::string folder = argv[2];
  REQUIRE(kind == "script" || kind == "aoti");
  const torch::NoGradGuard no_grad;
  const auto expected = read_tensor(folder + "/expected");
  const auto output = run(kind, folder, read_tensor(folder + "/input"));
  REQUIRE(output.sizes() == expected.sizes());
  const double difference = (output - expected).abs().max().item<double>();
  std::cout << kind << ": outputs differ by at most " << difference << '\n';
  REQUIRE(difference <= 1e-5 * std::max(1.0, expected.abs().max().item<double>()));
  return 0;
}
