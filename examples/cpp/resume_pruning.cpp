// Training under a pruner that is interrupted and goes on from files, to the same masks and weights as a run that was not. No Python
// anywhere; what is saved can be read there, too.
#include <jouleprune/jouleprune.h>
#include <torch/torch.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <random>
#include <string>

namespace jp = jouleprune;

// Points in 32 dimensions; the class is the largest of 8 hidden mixtures of them.
struct Task {
  torch::Tensor mixtures = torch::randn({8, 32}), x = torch::randn({1024, 32}), y = x.matmul(mixtures.t()).argmax(1);
};

// All that a training process holds. Each one makes it anew; weights, optimizer and pruner then come from files.
struct Training {
  const Task& task;
  torch::nn::Sequential net{torch::nn::Linear(32, 256), torch::nn::ReLU(), torch::nn::Linear(256, 64), torch::nn::ReLU(),
                            torch::nn::Linear(64, 8)};
  torch::optim::AdamW optimizer{net->parameters(), torch::optim::AdamWOptions(3e-3)};
  jp::Pruner pruner;

  explicit Training(const Task& task_) : task(task_), pruner(*net, forward(), options()) {}

  jp::Forward forward() {
    return {[this] { net->forward(task.x.slice(0, 0, 1)); }, /*batch=*/1};
  }

  jp::PrunerOptions options() {
    jp::PrunerOptions options{.energy = jp::Budget::percent(25),
                              .profile = jp::Profile::load("eyeriss-65nm"),
                              .importance = "wanda",  // |w| times the size of the activation that it reads, on:
                              .schedule = jp::PolynomialDecay{.begin_step = 10, .end_step = 90, .frequency = 8}};
    options.data = [this] { net->forward(task.x.slice(0, 0, 256)); };
    return options;
  }

  void train(int64_t last_step) {
    while (pruner.steps() < last_step) {
      const auto batch = torch::randint(task.x.size(0), {64}, torch::kLong);
      optimizer.zero_grad();
      torch::nn::functional::cross_entropy(net->forward(task.x.index_select(0, batch)), task.y.index_select(0, batch)).backward();
      optimizer.step();
      pruner.step();
    }
  }

  void save(const std::filesystem::path& folder) const {
    torch::save(net, folder / "net.pt");
    torch::save(optimizer, folder / "optimizer.pt");
    torch::save(pruner, folder / "pruner.pt");  // masks as bits, step, plan, and torch's generator: later batches are drawn as they were
    jp::save_state(pruner.state_dict(), folder / "pruner_for_python.pt");  // pruner.load_state_dict(torch.load(...))
  }

  void resume(const std::filesystem::path& folder) {
    torch::load(net, folder / "net.pt");
    torch::load(optimizer, folder / "optimizer.pt");
    torch::load(pruner, folder / "pruner.pt");  // the last: it zeroes what is pruned
  }

  double accuracy() {
    const torch::NoGradGuard no_grad;
    return net->forward(task.x).argmax(1).eq(task.y).to(torch::kFloat).mean().item<double>();
  }
};

bool same(const Training& a, const Training& b) {
  bool equal = a.pruner.plan().to_json() == b.pruner.plan().to_json();
  for (const auto& [weight, bits] : a.pruner.plan().masks) equal = equal && bits.equal(b.pruner.plan().masks.at(weight));
  const auto mine = a.net->parameters(), theirs = b.net->parameters();
  for (size_t i = 0; i < mine.size(); ++i) equal = equal && mine[i].equal(theirs[i]);
  return equal;
}

int main() {
  const auto folder = std::filesystem::temp_directory_path() / ("jouleprune_" + std::to_string(std::random_device{}()));
  std::filesystem::create_directory(folder);
  torch::manual_seed(2);
  const Task task;

  Training undisturbed(task);
  undisturbed.train(45);
  undisturbed.save(folder);  // what a process that ends here leaves behind
  undisturbed.train(120);

  torch::manual_seed(99);  // another process has drawn other numbers
  Training resumed(task);
  resumed.resume(folder);
  std::cout << "resumed at step " << resumed.pruner.steps() << ": " << resumed.pruner.energy_j() * 1e9 << " nJ, accuracy "
            << resumed.accuracy() << '\n';
  resumed.train(120);
  std::cout << resumed.pruner.report() << "accuracy " << resumed.accuracy() << '\n';
  std::filesystem::remove_all(folder);

  const bool good = resumed.pruner.done() && resumed.pruner.energy_j() <= resumed.pruner.budget_j() && same(resumed, undisturbed);
  std::cout << (good ? "masks and weights are those of the run that was not interrupted\n" : "the runs differ\n");
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
