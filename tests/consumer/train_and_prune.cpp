// Trains and prunes a torch::nn::Sequential to 50 % of its energy and converts it, on two devices.
#include <jouleprune/jouleprune.h>
#include <torch/torch.h>

#include "check.h"

namespace jp = jouleprune;

namespace {

/// Two classes: inside or outside a sphere in 64 dimensions, seen through fixed random features.
std::pair<torch::Tensor, torch::Tensor> make_data(int64_t count) {
  const auto points = torch::randn({count, 64});
  const auto labels = points.square().sum(1).gt(63.3).to(torch::kLong);
  return {points, labels};
}

torch::nn::Sequential make_net() {
  return torch::nn::Sequential(torch::nn::Linear(64, 512), torch::nn::ReLU(), torch::nn::Linear(512, 256), torch::nn::ReLU(),
                               torch::nn::Linear(256, 2));
}

void train_prune_convert(const std::string& profile_name) {
  torch::manual_seed(0);
  auto net = make_net();
  const auto [x, y] = make_data(512);
  const auto example = x.slice(0, 0, 1).contiguous();
  const auto profile = jp::Profile::load(profile_name);
  const jp::Forward forward{[&] { net->forward(example); }, 1};

  jp::Pruner pruner(*net, forward,
                    {.energy = jp::Budget::percent(50),
                     .profile = profile,
                     .schedule = jp::PolynomialDecay{.begin_step = 5, .end_step = 40, .frequency = 5}});
  torch::optim::SGD optimizer(net->parameters(), torch::optim::SGDOptions(0.05).momentum(0.9).weight_decay(1e-4));
  double first_loss = 0;
  double last_loss = 0;
  for (int step = 0; step < 60; ++step) {
    optimizer.zero_grad();
    auto loss = torch::nn::functional::cross_entropy(net->forward(x), y);
    loss.backward();
    optimizer.step();
    pruner.step();
    last_loss = loss.item<double>();
    first_loss = step == 0 ? last_loss : first_loss;
  }
  REQUIRE(last_loss < first_loss);
  REQUIRE(pruner.done());
  REQUIRE(pruner.energy_j() <= pruner.budget_j());
  REQUIRE(pruner.budget_j() == 0.5 * pruner.dense_j());
  REQUIRE(pruner.plan().maximal || pruner.energy_j() > 0.99 * pruner.budget_j());
  std::cout << pruner.report();

  net->eval();
  const torch::NoGradGuard no_grad;
  const auto masked_dense = net->forward(x);
  jp::convert(*net, forward, {.profile = profile, .plan = pruner.plan()});
  std::cout << jp::explain(*net) << "\n\n";
  REQUIRE(jp::estimate(*net, forward, profile).total_j() == pruner.energy_j());
  REQUIRE((net->forward(x) - masked_dense).abs().max().item<double>() < 1e-4);

  std::stringstream file;
  torch::save(net, file);
  if (profile.kind() == "cpu") {  // joules decided: the large layer runs sparse, whatever this machine's clock says
    REQUIRE(net->named_parameters().contains("2.values"));
    torch::nn::Sequential fresh(jp::nn::Linear(64, 512), torch::nn::ReLU(), jp::nn::Linear(512, 256), torch::nn::ReLU(),
                                jp::nn::Linear(256, 2));
    torch::load(fresh, file);
    REQUIRE(fresh->forward(x).equal(net->forward(x)));
  }
}

void budgets_that_cannot_be_met_say_what_can() {
  auto net = make_net();
  const auto example = torch::randn({1, 64});
  const jp::Forward forward{[&] { net->forward(example); }, 1};
  const auto profile = jp::Profile::load("generic-cpu");
  try {
    jp::Pruner(*net, forward, {.energy = jp::Budget::joules(1e-15), .profile = profile});
    REQUIRE(!"a femtojoule is not enough");
  } catch (const jp::BudgetError& error) {
    REQUIRE(error.minimum_j() > 1e-15);
    jp::Pruner least(*net, forward, {.energy = jp::Budget::joules(error.minimum_j()), .profile = profile});
    REQUIRE(least.prune_now().energy_j <= error.minimum_j());
  }
}

}  // namespace

int main() {
  train_prune_convert("eyeriss-65nm");
  train_prune_convert("generic-cpu");
  budgets_that_cannot_be_met_say_what_can();
  return 0;
}
