// run_saved script|aoti <folder>: runs what Python saved there and compares with what Python computed.
// Tensors are files of little-endian float32 (x.f32) beside their sizes as text (x.shape). Names no symbol of jouleprune.
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/script.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "check.h"

namespace {

torch::Tensor read_tensor(const std::string& path) {
  std::ifstream shape(path + ".shape");
  std::vector<int64_t> sizes;
  for (int64_t size = 0; shape >> size;) {
    sizes.push_back(size);
  }
  auto tensor = torch::empty(sizes);
  std::ifstream values(path + ".f32", std::ios::binary);
  values.read(reinterpret_cast<char*>(tensor.data_ptr<float>()), static_cast<std::streamsize>(tensor.nbytes()));
  REQUIRE(!sizes.empty() && values && values.peek() == EOF);
  return tensor;
}

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
