// same_training <folder>: masks that move, the floor under a metric, proximal steps and the loss of a teacher give what plans_training.py
// got from Python.
#include <jouleprune/jouleprune.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "criteria_net.h"
#include "plans_net.h"
#include "read_tensor.h"

namespace jp = jouleprune;

namespace {

const std::string kProfile = "eyeriss-65nm";

/// Trained alike, up to the order of sums; zero in the same places.
void check_weights(torch::nn::Sequential& net, const std::string& stem) {
  for (const auto& parameter : net->named_parameters()) {
    const auto got = parameter.value().detach(), expected = read_tensor(stem + "_" + parameter.key());
    REQUIRE(got.eq(0).equal(expected.eq(0)));
    REQUIRE(got.allclose(expected, 1e-5, 1e-7));
  }
}

double kept_share(torch::nn::Sequential& net) {
  int64_t kept = 0, all = 0;
  for (const auto& parameter : net->parameters()) {
    if (parameter.dim() < 2) continue;
    kept += parameter.ne(0).sum().item<int64_t>();
    all += parameter.numel();
  }
  return static_cast<double>(kept) / static_cast<double>(all);
}

void regrow(const std::string& folder, const torch::Tensor& x, const std::string& grow) {
  auto net = load_criteria_net(folder);
  jp::Pruner pruner(*net, {[&] { net->forward(x); }, x.size(0)}, {.energy = jp::Budget::percent(70), .profile = jp::Profile::load(kProfile)});
  pruner.prune_now();
  jp::Regrow moving(pruner, {.end_step = 8, .frequency = 2, .share = 0.4, .grow = grow, .seed = 3});
  for (int step = 0; step < 6; ++step) {
    net->zero_grad();
    net->forward(x).square().mean().backward();
    {
      const torch::NoGradGuard no_grad;
      for (auto& parameter : net->parameters()) parameter.sub_(0.01 * parameter.grad());
    }
    moving.step();
  }
  check_weights(net, folder + "/training_" + grow);
}

}  // namespace

int main(int argc, char** argv) {
  REQUIRE(argc == 2);
  const std::string folder = argv[1];
  const auto x = read_tensor(folder + "/criteria_x0");
  const auto profile = jp::Profile::load(kProfile);
  for (const char* grow : {"gradient", "random"}) regrow(folder, x, grow);

  auto net = load_criteria_net(folder);
  const jp::Forward forward{[&] { net->forward(x); }, x.size(0)};
  jp::Proximal proximal(*net, forward, {.profile = profile, .strength = 0.2, .pattern = "4x3"});
  proximal.step(0.1);
  proximal.step(0.05);
  check_weights(net, folder + "/training_proximal");

  net = load_criteria_net(folder);
  const auto floor = jp::prune_to_floor(*net, forward, {.profile = profile, .importance = "l2/sum"},
                                        {.evaluate = [&] { return kept_share(net); }, .max_drop = 0.3});
  check_weights(net, folder + "/training_floor");
  std::vector<double> expected;
  std::istringstream numbers(read_text(folder + "/training.txt"));
  for (std::string number; numbers >> number;) expected.push_back(std::strtod(number.c_str(), nullptr));
  REQUIRE(expected.size() == 3 + 2 * floor.trials.size() && floor.metric == expected[0] && floor.energy_j == expected[1]);
  for (size_t i = 0; i < floor.trials.size(); ++i) {
    REQUIRE(floor.trials[i].first == expected[3 + 2 * i] && floor.trials[i].second == expected[4 + 2 * i]);
  }

  const torch::NoGradGuard no_grad;
  const auto student = net->forward(x), teacher = load_criteria_net(folder)->forward(x);
  const auto loss = jp::distillation_loss(student, teacher, read_tensor(folder + "/criteria_target0").to(torch::kLong), 3, 0.7);
  REQUIRE(std::abs(loss.item<double>() - expected[2]) <= 1e-6 * expected[2]);
  std::cout << floor.trials.size() << " trials, moved masks, proximal steps and the loss of a teacher are Python's\n";
  return 0;
}
