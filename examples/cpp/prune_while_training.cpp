// Trains a small network on a made-up task, prunes it on the way to half its joules, and runs it sparse. No Python anywhere.
#include <jouleprune/jouleprune.h>
#include <torch/torch.h>

#include <cstdlib>
#include <iostream>

namespace jp = jouleprune;

// 16 x 16 pictures of a bar, upright or lying, somewhere, under noise: tell which of 16 rows or columns it is.
std::pair<torch::Tensor, torch::Tensor> make_pictures(int64_t count) {
  auto labels = torch::randint(32, {count}, torch::kLong);
  auto pictures = 0.3 * torch::randn({count, 1, 16, 16});
  for (int64_t i = 0; i < count; ++i) {
    const auto bar = labels[i].item<int64_t>();
    pictures[i][0].select(bar < 16 ? 0 : 1, bar % 16) += 1;
  }
  return {pictures, labels};
}

double accuracy(torch::nn::Sequential& net, const torch::Tensor& pictures, const torch::Tensor& labels) {
  const torch::NoGradGuard no_grad;
  net->eval();
  const auto right = net->forward(pictures).argmax(1).eq(labels).to(torch::kFloat).mean().item<double>();
  net->train();
  return right;
}

int main(int argc, char** argv) {
  const std::string profile_name = argc > 1 ? argv[1] : "eyeriss-65nm";
  torch::manual_seed(1);
  torch::nn::Sequential net(torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 16, 3).padding(1)), torch::nn::ReLU(),
                            torch::nn::MaxPool2d(2), torch::nn::Flatten(), torch::nn::Linear(16 * 8 * 8, 256),
                            torch::nn::ReLU(), torch::nn::Linear(256, 32));
  const auto [train_x, train_y] = make_pictures(2048);
  const auto [test_x, test_y] = make_pictures(512);

  const auto profile = jp::Profile::load(profile_name);
  const auto x = test_x.slice(0, 0, 1);  // joules per inference, one picture at a time
  const jp::Forward forward{[&] { net->forward(x); }, /*batch=*/1};
  std::cout << jp::estimate(*net, forward, profile) << '\n';

  const int64_t steps = 160;
  jp::Pruner pruner(*net, forward,
                    {.energy = jp::Budget::percent(50),
                     .profile = profile,
                     .schedule = jp::PolynomialDecay{.begin_step = 40, .end_step = 120, .frequency = 10}});
  torch::optim::Adam optimizer(net->parameters(), torch::optim::AdamOptions(1e-3).weight_decay(1e-4));
  for (int64_t step = 0; step < steps; ++step) {
    const auto batch = torch::randint(train_x.size(0), {128}, torch::kLong);
    optimizer.zero_grad();
    torch::nn::functional::cross_entropy(net->forward(train_x.index_select(0, batch)), train_y.index_select(0, batch)).backward();
    optimizer.step();
    pruner.step();
    if (step % 40 == 39) {
      std::cout << "step " << step + 1 << ": " << pruner.energy_j() * 1e6 << " uJ, test accuracy "
                << accuracy(net, test_x, test_y) << '\n';
    }
  }
  std::cout << '\n' << pruner.report() << '\n';

  net->eval();
  const torch::NoGradGuard no_grad;
  const auto before = net->forward(test_x);
  jp::convert(*net, forward, {.profile = profile, .plan = pruner.plan()});
  std::cout << jp::explain(*net) << "\n\n";

  const double converted_j = jp::estimate(*net, forward, profile).total_j();
  const double difference = (net->forward(test_x) - before).abs().max().item<double>();
  std::cout << "converted: " << converted_j * 1e6 << " uJ (modelled), budget " << pruner.budget_j() * 1e6
            << " uJ, outputs differ by at most " << difference << '\n';
  const bool good = converted_j == pruner.energy_j() && converted_j <= pruner.budget_j() && difference < 1e-3;
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
