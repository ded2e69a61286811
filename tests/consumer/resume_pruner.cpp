// resume_pruner <folder>: goes on from the state of a Pruner that plans.py saved there, to the plan that Python went on to; and saves
// one of its own for check_exchanged.py.
#include <jouleprune/jouleprune.h>
#include <torch/torch.h>

#include <string>

#include "plans_net.h"
#include "read_tensor.h"

namespace jp = jouleprune;

namespace {

/// That of resumed() in plans.py.
jp::Pruner pruner_of(Net& net, const jp::Forward& forward) {
  return {*net, forward,
          {.energy = jp::Budget::percent(20), .profile = jp::Profile::load("eyeriss-65nm"), .schedule = jp::PolynomialDecay{.end_step = 10, .frequency = 3}}};
}

void go_on(jp::Pruner& pruner, int steps) {
  for (int i = 0; i < steps; ++i) pruner.step();
}

}  // namespace

int main(int argc, char** argv) {
  REQUIRE(argc == 2);
  const std::string folder = argv[1];
  const auto x = read_tensor(folder + "/plans_input");

  auto net = load_net(folder + "/resumed_");
  const jp::Forward forward{[&] { net->forward(x); }, x.size(0)};
  auto pruner = pruner_of(net, forward);
  pruner.load_state_dict(jp::load_state(folder + "/pruner.pt"));
  REQUIRE(pruner.steps() == 5 && !pruner.done());
  go_on(pruner, 6);
  REQUIRE(pruner.done() && pruner.plan().to_json() == read_text(folder + "/resumed.json"));
  for (const auto& [weight, bits] : pruner.plan().masks) {
    const auto kept = jp::unpack_mask(bits, net->named_parameters()[weight].sizes());
    REQUIRE(kept.to(torch::kFloat).equal(read_tensor(folder + "/resumed_mask_" + weight)));
  }

  auto own = load_net(folder + "/plans_");
  const jp::Forward own_forward{[&] { own->forward(x); }, x.size(0)};
  auto own_pruner = pruner_of(own, own_forward);
  go_on(own_pruner, 5);
  jp::save_state(own_pruner.state_dict(), folder + "/pruner_from_cpp.pt");
  std::cout << "went on to " << pruner.plan().masks.size() << " masks of Python's\n";
  return 0;
}
