// same_criteria <folder>: for the network and data that plans_criteria.py saved there, C++ makes the plans that Python made under every
// criterion, bit for bit.
#include <jouleprune/jouleprune.h>
#include <torch/torch.h>

#include <fstream>
#include <string>
#include <vector>

#include "criteria_net.h"
#include "plans_net.h"
#include "read_tensor.h"

namespace jp = jouleprune;

int main(int argc, char** argv) {
  REQUIRE(argc == 2);
  const std::string folder = argv[1];
  auto net = load_criteria_net(folder);
  std::vector<std::pair<torch::Tensor, torch::Tensor>> batches;
  for (const char* number : {"0", "1", "2"}) {
    batches.emplace_back(read_tensor(folder + "/criteria_x" + number), read_tensor(folder + "/criteria_target" + number).to(torch::kLong));
  }
  const jp::Forward forward{[&] { net->forward(batches[0].first); }, batches[0].first.size(0)};
  jp::PrunerOptions options{.energy = jp::Budget::percent(70), .profile = jp::Profile::load("eyeriss-65nm")};
  options.data = [&] {
    for (const auto& batch : batches) net->forward(batch.first);
  };
  options.loss = [&](const jp::TakeLoss& take) {
    for (const auto& batch : batches) take(torch::nn::functional::cross_entropy(net->forward(batch.first), batch.second));
  };
  options.losses = {options.loss, [&](const jp::TakeLoss& take) {
                      for (const auto& batch : batches) take(net->forward(batch.first).square().mean());
                    }};
  std::istringstream cases(read_text(folder + "/criteria.txt"));
  int count = 0;
  for (; cases >> options.importance >> options.pattern; ++count) {
    const std::string stem = folder + "/criteria_case" + std::to_string(count);
    const auto plan = jp::make_plan(*net, forward, options);
    if (plan.to_json() != read_text(stem + ".json")) std::cerr << options.importance << " " << options.pattern << '\n';
    REQUIRE(plan.to_json() == read_text(stem + ".json"));
    for (const auto& [weight, bits] : plan.masks) REQUIRE(bits.to(torch::kFloat).equal(read_tensor(stem + "_" + weight)));
  }
  REQUIRE(count > 0);
  std::cout << count << " plans are Python's\n";
  return 0;
}
