// same_plans <folder>: for the network that plans.py saved there, C++ makes the plans that Python made, bit for bit, and its converted
// network gives the outputs of Python's.
#include <jouleprune/jouleprune.h>
#include <torch/torch.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

#include "plans_net.h"
#include "read_tensor.h"

namespace jp = jouleprune;

namespace {

void check_masks(const std::string& stem, const jp::MaskedPlan& plan, Net& net) {
  for (const auto& [weight, bits] : plan.masks) {
    const auto kept = jp::unpack_mask(bits, net->named_parameters()[weight].sizes());
    REQUIRE(kept.to(torch::kFloat).equal(read_tensor(stem + "_" + weight)));
  }
}

void same_plan(const std::string& folder, const std::string& name, const std::string& profile_name, const std::string& pattern,
               const std::string& dtype) {
  const std::string stem = folder + "/plans_" + name;
  const auto expected = jp::Plan::parse(read_text(stem + ".json"));
  auto net = load_net(folder + "/plans_");
  const auto x = read_tensor(folder + "/plans_input");
  const jp::Forward forward{[&] { net->forward(x); }, x.size(0)};
  const auto profile = jp::Profile::load(profile_name);
  jp::Pruner pruner(*net, forward,
                    {.energy = jp::Budget::joules(expected.budget_j), .profile = profile, .pattern = pattern, .dtype = dtype});
  const jp::MaskedPlan plan = pruner.prune_now();
  REQUIRE(plan.energy_j == expected.energy_j && plan.dense_j == expected.dense_j && plan.minimum_j == expected.minimum_j);
  REQUIRE(plan.layers.size() == expected.layers.size());
  size_t masked = 0;
  for (size_t i = 0; i < plan.layers.size(); ++i) {
    const auto &got = plan.layers[i], &want = expected.layers[i];
    REQUIRE(got.weight == want.weight && got.pattern == want.pattern && got.layout == want.layout && got.kernel == want.kernel);
    REQUIRE(got.dtype == want.dtype && got.kept == want.kept && got.energy_j == want.energy_j);
    masked += std::ifstream(stem + "_" + want.weight + ".f32").good();
  }
  REQUIRE(plan.masks.size() == masked && masked > 0);
  check_masks(stem, plan, net);

  const torch::NoGradGuard no_grad;
  jp::convert(*net, forward, {.plan = plan, .force = true});
  REQUIRE(jp::estimate(*net, forward, profile).total_j() == plan.energy_j);
  const auto output = net->forward(x), theirs = read_tensor(stem);
  const double difference = (output - theirs).abs().max().item<double>();
  std::cout << name << ": " << masked << " masks equal, outputs differ by at most " << difference << '\n';
  REQUIRE(difference <= 1e-5 * std::max(1.0, theirs.abs().max().item<double>()));
}

}  // namespace

int main(int argc, char** argv) {
  REQUIRE(argc == 2);
  const std::string folder = argv[1];
  std::istringstream cases(read_text(folder + "/plans.txt"));
  int count = 0;
  for (std::string name, profile, pattern, dtype; cases >> name >> profile >> pattern >> dtype; ++count) {
    same_plan(folder, name, profile, pattern, dtype == "-" ? "" : dtype);
  }
  REQUIRE(count > 0);
  return 0;
}
