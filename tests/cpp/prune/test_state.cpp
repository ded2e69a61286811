// A Pruner's state: what is saved, in which forms, and that it goes on to the same masks.
#include <ATen/ops/rand.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <jouleprune/prune.h>
#include <torch/serialize.h>

#include <cstdio>
#include <fstream>
#include <sstream>

#include "prune/networks.h"

namespace jouleprune::tests {
namespace {

const PolynomialDecay kDecay{.begin_step = 0, .end_step = 10, .frequency = 3};

PrunerOptions state_options(double percent = 20, const char* profile = "eyeriss-65nm") {
  return {.energy = Budget::percent(percent), .profile = Profile::load(profile), .schedule = kDecay};
}

/// Calls step() so often, with a change of the weights before each that follows from the step alone.
void train_on(Network& network, Pruner& pruner, int steps) {
  const at::NoGradGuard no_grad;
  for (int i = 0; i < steps; ++i) {
    torch::manual_seed(static_cast<uint64_t>(pruner.steps()));
    for (auto& parameter : network.net->parameters()) parameter.add_(0.01 * at::randn(parameter.sizes()));
    pruner.step();
  }
}

Network copy_of(const Network& network) {
  Network copy = make_mlp();
  const at::NoGradGuard no_grad;
  const auto from = network.net->parameters();
  const auto to = copy.net->parameters();
  for (size_t i = 0; i < to.size(); ++i) to[i].copy_(from[i]);
  return copy;
}

/// A pruner that stands in the middle of its schedule.
struct Midway {
  Network network = make_mlp();
  Pruner pruner{*network.net, network.forward(), state_options()};
  Midway() { train_on(network, pruner, 5); }
};

/// Both go on; they must end alike.
void expect_same_end(Midway& midway, Network& again, Pruner& resumed) {
  EXPECT_EQ(resumed.steps(), midway.pruner.steps());
  EXPECT_EQ(resumed.energy_j(), midway.pruner.energy_j());
  EXPECT_TRUE(same(snapshot(*again.net), snapshot(*midway.network.net)));
  train_on(midway.network, midway.pruner, 7);
  train_on(again, resumed, 7);
  EXPECT_TRUE(resumed.done());
  EXPECT_EQ(resumed.plan().to_json(), midway.pruner.plan().to_json());
  EXPECT_TRUE(same(snapshot(*again.net), snapshot(*midway.network.net)));
}

struct TemporaryFile {
  std::string path = testing::TempDir() + "jouleprune_state.pt";
  ~TemporaryFile() { std::remove(path.c_str()); }
};

c10::IValue changed(const c10::IValue& state, const std::string& key, const c10::IValue& value) {
  auto dict = state.toGenericDict().copy();
  dict.insert_or_assign(key, value);
  return dict;
}

template <typename Call>
void expect_refused(const std::string& message, const Call& call) {
  try {
    call();
    FAIL() << "expected: " << message;
  } catch (const c10::ValueError& error) {
    EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what_without_backtrace();
  }
}

TEST(PrunerState, ResumesToTheSameMasks) {
  Midway midway;
  Network again = copy_of(midway.network);
  Pruner resumed(*again.net, again.forward(), state_options());
  resumed.load_state_dict(midway.pruner.state_dict());
  expect_same_end(midway, again, resumed);
}

TEST(PrunerState, TravelsInFilesOfTorchSave) {
  Midway midway;
  const TemporaryFile file;
  save_state(midway.pruner.state_dict(), file.path);
  Network again = copy_of(midway.network);
  Pruner resumed(*again.net, again.forward(), state_options());
  resumed.load_state_dict(load_state(file.path));
  expect_same_end(midway, again, resumed);
}

TEST(PrunerState, TravelsInArchives) {
  Midway midway;
  std::stringstream file;
  torch::save(midway.pruner, file);
  Network again = copy_of(midway.network);
  Pruner resumed(*again.net, again.forward(), state_options());
  torch::load(resumed, file);
  expect_same_end(midway, again, resumed);
}

TEST(PrunerState, BeforeAnythingWasPruned) {
  auto network = make_mlp();
  Pruner pruner(*network.net, network.forward(), state_options());
  std::stringstream file;
  torch::save(pruner, file);
  Pruner resumed(*network.net, network.forward(), state_options());
  torch::load(resumed, file);
  EXPECT_EQ(resumed.steps(), 0);
  EXPECT_THROW(resumed.plan(), c10::ValueError);
  EXPECT_TRUE(pruner.state_dict().toGenericDict().at("plan").isNone());
}

TEST(PrunerState, TheStateIsACopy) {
  Midway midway;
  const auto state = midway.pruner.state_dict();
  const auto before = state.toGenericDict().at("masks").toGenericDict().at("0.weight").toTensor().clone();
  train_on(midway.network, midway.pruner, 6);
  EXPECT_TRUE(state.toGenericDict().at("masks").toGenericDict().at("0.weight").toTensor().equal(before));
}

TEST(PrunerState, DrawsGoOnWhereTheyStopped) {
  Midway midway;
  const auto state = midway.pruner.state_dict();
  const auto drawn = at::rand({8});
  torch::manual_seed(99);
  Network again = copy_of(midway.network);
  Pruner resumed(*again.net, again.forward(), state_options());
  resumed.load_state_dict(state);
  EXPECT_TRUE(at::rand({8}).equal(drawn));
  torch::manual_seed(99);
  const auto other = at::rand({8});
  torch::manual_seed(99);
  resumed.load_state_dict(state, /*restore_rng=*/false);
  EXPECT_TRUE(at::rand({8}).equal(other));
}

TEST(PrunerState, MeasuredLimitsTravel) {
  auto network = make_mlp(64);
  const auto options = state_options(100, "generic-cpu");
  Pruner pruner(*network.net, network.forward(), options);
  const double least = pruner.minimum_j();
  pruner.prune_now();
  const std::string limits = R"([{"below":0.0,"dtype":"float32","kernel":"csr","weight":"0.weight"}])";
  Pruner resumed(*network.net, network.forward(), options);
  resumed.load_state_dict(changed(pruner.state_dict(), "measured", limits));
  EXPECT_GT(resumed.minimum_j(), least);  // csr is no choice for that layer any more
  EXPECT_EQ(resumed.state_dict().toGenericDict().at("measured").toStringRef(), limits);
}

TEST(PrunerState, DamagedStatesAreRefusedAndChangeNothing) {
  Midway midway;
  const auto state = midway.pruner.state_dict();
  const auto weights = snapshot(*midway.network.net);
  const auto& masks = midway.pruner.plan().masks;
  const auto with_mask = [&](const at::Tensor& mask) {
    c10::Dict<std::string, at::Tensor> changed_masks;
    for (const auto& [name, bits] : masks) changed_masks.insert(name, name == "0.weight" ? mask : bits);
    return c10::IValue(changed_masks);
  };
  const auto& bits = masks.at("0.weight");
  const std::vector<std::tuple<std::string, c10::IValue, std::string>> cases = {
      {"schema", 2, "schema: expected 1, got 2"},
      {"step", -1, "step: expected a whole number of at least 0, got -1"},
      {"step", 1.5, "step: expected a whole number"},
      {"done", 1, "done: expected true or false"},
      {"masks", 3, "masks: expected a dict of tensors, got Int"},
      {"masks", c10::Dict<std::string, at::Tensor>(), "expected a mask among masks, got none"},
      {"masks", with_mask(at::zeros({3}, at::kByte)), "mask of '0.weight': expected uint8 [768], got Byte [3]"},
      {"masks", with_mask(at::zeros_like(bits)), "mask of '0.weight': expected"},
      {"masks", with_mask(bits.to(at::kFloat)), "masks: '0.weight': expected a uint8 tensor"},
      {"plan", c10::IValue(), "plan: expected a plan beside masks, got None"},
      {"plan", 5, "plan: expected JSON, got Int"},
      {"plan", "{", "plan: "},
      {"frozen", c10::List<bool>({true}), "frozen: expected None or 3 flags, got 1"},
      {"frozen", 3, "frozen: expected None or 3 flags, got Int"},
      {"profile_hash", "00", "profile_hash: expected that of 'eyeriss-65nm'"},
      {"measured", "{", "measured"},
      {"measured", 1, "measured: expected JSON, got Int"},
      {"rng", at::zeros({3}), "rng: expected"},
      {"owed", 1, "owed: expected true or false, got Int"},
      {"budget_j", "much", "budget_j: expected a number, got String"},
      {"prune_for", "bytes", "prune_for: expected joules, got bytes"},
      {"adaptive", c10::Dict<std::string, double>(), "adaptive: the state was taken along an AdaptiveSchedule"},
      {"schedule", "Constant(begin_step=0)", "schedule: expected PolynomialDecay(begin_step=0, end_step=10, frequency=3, initial=0, power=3), got Const"},
  };
  for (const auto& [key, value, message] : cases) {
    expect_refused(message, [&, &key = key, &value = value] { midway.pruner.load_state_dict(changed(state, key, value)); });
  }
  expect_refused("state: expected the dict", [&] { midway.pruner.load_state_dict(c10::IValue(3)); });
  auto cut = state.toGenericDict().copy();
  static_cast<void>(cut.erase("step"));
  expect_refused("step: expected a state of schema 1, which has it", [&] { midway.pruner.load_state_dict(cut); });
  EXPECT_EQ(midway.pruner.steps(), 5);
  EXPECT_TRUE(same(weights, snapshot(*midway.network.net)));
  expect_refused("load_state: path", [] { load_state("/nowhere/state.pt"); });
  const TemporaryFile file;
  std::ofstream(file.path) << "no archive";
  expect_refused("load_state: expected what save_state()", [&] { load_state(file.path); });
}

TEST(PrunerState, StatesOfOtherPrunersAreRefused) {
  Midway midway;
  const auto state = midway.pruner.state_dict();
  const auto refuse = [&](const std::string& message, const PrunerOptions& options, Network network = make_mlp()) {
    Pruner other(*network.net, network.forward(), options);
    expect_refused(message, [&] { other.load_state_dict(state); });
  };
  refuse("budget_j: expected", state_options(30));
  refuse("profile_hash: expected that of 'generic-cpu'", state_options(100, "generic-cpu"));
  auto options = state_options();
  options.pattern = "1x4";
  refuse("plan: pattern: expected 1x4, got unstructured", options);
  options = state_options();
  options.importance = "magnitude";
  refuse("plan: importance: expected magnitude, got lamp", options);
  options = state_options(30);
  options.ignored_layers = {"5"};
  refuse("plan: ", options);
  options = state_options();
  options.schedule = PolynomialDecay{.begin_step = 0, .end_step = 20, .frequency = 3};
  refuse("schedule: expected PolynomialDecay(begin_step=0, end_step=20", options);
  refuse("plan: ", state_options(), make_cnn());
}

TEST(PrunerState, StatesWithoutWhatPythonOnceLackedAreRead) {
  Midway midway;
  auto dict = midway.pruner.state_dict().toGenericDict().copy();
  for (const char* key : {"measured", "rng", "schedule", "owed", "prune_for", "budget_j"}) static_cast<void>(dict.erase(std::string(key)));
  Network again = copy_of(midway.network);
  Pruner resumed(*again.net, again.forward(), state_options());
  Pruner other(*again.net, again.forward(), state_options(30));
  expect_refused("plan: budget_j: expected", [&] { other.load_state_dict(dict); });
  resumed.load_state_dict(dict);
  expect_same_end(midway, again, resumed);
}

/// As Python's Pruner leaves one midway through prune_layers: the plan names the joules of the layers so far.
TEST(PrunerState, OfAStepOnTheWayThePlanMayNameAnotherBudget) {
  Midway midway;
  Plan plan = midway.pruner.plan();
  plan.budget_j *= 2;
  plan.budget = "so far";
  Network again = copy_of(midway.network);
  Pruner resumed(*again.net, again.forward(), state_options());
  resumed.load_state_dict(changed(midway.pruner.state_dict(), "plan", plan.to_json()));
  expect_same_end(midway, again, resumed);
}

TEST(PrunerState, OwedMasksAreChosenAtTheNextStep) {
  Midway midway;  // the next update would be two steps later
  Network again = copy_of(midway.network);
  Pruner resumed(*again.net, again.forward(), state_options());
  resumed.load_state_dict(changed(midway.pruner.state_dict(), "owed", true));
  const double before = resumed.energy_j();
  train_on(again, resumed, 1);
  train_on(midway.network, midway.pruner, 1);
  EXPECT_EQ(midway.pruner.energy_j(), before);
  EXPECT_LT(resumed.energy_j(), before);
  EXPECT_FALSE(resumed.state_dict().toGenericDict().at(std::string("owed")).toBool());
}

TEST(Pruner, MasksMoveWhenAsManyStay) {
  Midway midway;
  const auto weight = midway.pruner.parameter("3.weight");
  const auto bits = midway.pruner.plan().masks.at("3.weight");
  auto kept = weight.ne(0).flatten();
  const auto first = kept.nonzero()[0].item<int64_t>(), gone = kept.logical_not().nonzero()[0].item<int64_t>();
  kept[first] = false, kept[gone] = true;
  auto moved = at::zeros_like(bits);
  for (int64_t i = 0; i < kept.numel(); ++i) {
    if (kept[i].item<bool>()) moved[i / 8] = moved[i / 8].item<int64_t>() | (int64_t{1} << (i % 8));
  }
  midway.pruner.move_masks({{"3.weight", moved}});
  EXPECT_EQ(weight.flatten()[first].item<double>(), 0);
  EXPECT_TRUE(midway.pruner.plan().masks.at("3.weight").equal(moved));
  expect_refused("masks: '3.weight': expected", [&] { midway.pruner.move_masks({{"3.weight", at::zeros_like(bits)}}); });
  expect_refused("name: expected a pruned weight (0.weight", [&] { midway.pruner.parameter("nowhere"); });
}

TEST(Pruner, PrunesToAShareOfTheRemoval) {
  auto network = make_mlp();
  Pruner pruner(*network.net, network.forward(), state_options(50));
  EXPECT_TRUE(pruner.prunes(*network.net));
  EXPECT_FALSE(pruner.prunes(*make_mlp().net));
  EXPECT_LE(pruner.prune_to(0.5).energy_j, 0.75 * pruner.dense_j());
  EXPECT_GT(pruner.energy_j(), pruner.budget_j());
  EXPECT_FALSE(pruner.done());
  EXPECT_LE(pruner.prune_to(1).energy_j, pruner.budget_j());
  EXPECT_TRUE(pruner.done());
  expect_refused("share: expected a number in [0, 1], got 2", [&] { pruner.prune_to(2); });
}

}  // namespace
}  // namespace jouleprune::tests
