// Bad requests: the named error, a message that names the argument, and an untouched module.
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <jouleprune/prune.h>
#include <jouleprune/value_errors.h>

#include <cmath>
#include <functional>
#include <limits>

#include "prune/networks.h"

namespace jouleprune::tests {
namespace {

template <typename Error>
std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another class of error: " << error.what();
    return "";
  }
  ADD_FAILURE() << "no error";
  return "";
}

class PruneErrors : public testing::Test {
 protected:
  template <typename Error>
  void expect(PrunerOptions options, const std::string& names) {
    const auto what = message_of<Error>([&] { Pruner(*network.net, network.forward(), options).step(); });
    EXPECT_NE(what.find(names), std::string::npos) << what;
    EXPECT_TRUE(same(before, snapshot(*network.net)));
    EXPECT_TRUE(network.net->is_training());
  }

  Network network = make_mlp();
  std::map<std::string, at::Tensor> before = snapshot(*network.net);
  Profile profile = Profile::load("eyeriss-65nm");
};

TEST_F(PruneErrors, MissingArguments) {
  expect<BudgetError>({.profile = profile}, "energy");
  expect<ProfileError>({.energy = Budget::percent(50)}, "profile");
}

TEST_F(PruneErrors, Int8OnAnAccelerator) {
  expect<c10::ValueError>({.energy = Budget::percent(50), .profile = profile, .pattern = "1x4", .dtype = "int8"},
                          "dtype: 'int8' chooses among kernels for CPUs: expected none for 'eyeriss-65nm'");
}

TEST_F(PruneErrors, BudgetAboveDense) {
  expect<BudgetError>({.energy = Budget::joules(0.5), .profile = profile}, "dense");
}

TEST_F(PruneErrors, BudgetBelowTheMinimumCarriesIt) {
  const Pruner probe(*network.net, network.forward(), {.energy = Budget::percent(100), .profile = profile});
  ASSERT_GT(probe.minimum_j(), 0);
  try {
    Pruner(*network.net, network.forward(), {.energy = Budget::joules(probe.minimum_j() * 0.99), .profile = profile});
    FAIL() << "no error";
  } catch (const BudgetError& error) {
    EXPECT_EQ(error.minimum_j(), probe.minimum_j());
    Pruner least(*network.net, network.forward(), {.energy = Budget::joules(error.minimum_j()), .profile = profile});
    EXPECT_LE(least.prune_now().energy_j, error.minimum_j());
  }
}

TEST_F(PruneErrors, MalformedBudgetsHaveNoMinimum) {
  EXPECT_THROW(Budget::percent(0), core::BudgetError);
  EXPECT_THROW(Budget::percent(101), core::BudgetError);
  EXPECT_THROW(Budget::joules(std::numeric_limits<double>::quiet_NaN()), core::BudgetError);
  try {
    Pruner(*network.net, network.forward(), {.energy = Budget::joules(1), .profile = profile});
    FAIL() << "no error";
  } catch (const BudgetError& error) {
    EXPECT_TRUE(std::isnan(error.minimum_j()));
  }
}

TEST_F(PruneErrors, UnknownNames) {
  const auto energy = Budget::percent(50);
  expect<PatternError>({.energy = energy, .profile = profile, .pattern = "7:3"}, "pattern");
  expect<PatternError>({.energy = energy, .profile = profile, .importance = "median"}, "importance");
  expect<c10::ValueError>({.energy = energy, .profile = profile, .ignored_layers = {"fc9"}}, "ignored_layers");
  expect<c10::ValueError>({.energy = energy, .profile = profile, .min_density = std::map<std::string, double>{{"fc9", 0.1}}},
                          "min_density");
  expect<c10::ValueError>(
      {.energy = energy, .profile = profile, .activation_density = std::map<std::string, double>{{"fc9", 0.1}}},
      "activation_density");
}

TEST_F(PruneErrors, NumbersOutOfRange) {
  const auto energy = Budget::percent(50);
  expect<c10::ValueError>({.energy = energy, .profile = profile, .min_density = 1.5}, "min_density");
  expect<c10::ValueError>({.energy = energy, .profile = profile, .activation_density = -0.1}, "activation_density");
  expect<c10::ValueError>({.energy = energy, .profile = profile, .schedule = Constant{.begin_step = -1}}, "begin_step");
  expect<c10::ValueError>({.energy = energy, .profile = profile, .schedule = PolynomialDecay{.begin_step = 5, .end_step = 4}},
                          "end_step");
  expect<c10::ValueError>({.energy = energy, .profile = profile, .schedule = PolynomialDecay{.end_step = 4, .frequency = 0}},
                          "frequency");
  expect<c10::ValueError>({.energy = energy, .profile = profile, .schedule = PolynomialDecay{.end_step = 4, .power = 0}},
                          "power");
}

TEST_F(PruneErrors, GradientsThatAreMissing) {
  expect<c10::ValueError>({.energy = Budget::percent(50), .profile = profile, .importance = "taylor"}, "grad");
}

TEST_F(PruneErrors, WeightsThatAreNotNumbers) {
  {
    const at::NoGradGuard no_grad;
    network.net->parameters()[0].view(-1)[3] = std::numeric_limits<float>::quiet_NaN();
  }
  const auto what = message_of<c10::ValueError>(
      [&] { Pruner(*network.net, network.forward(), {.energy = Budget::percent(50), .profile = profile}).step(); });
  EXPECT_NE(what.find("0.weight"), std::string::npos) << what;
  EXPECT_EQ(network.net->parameters()[2].eq(0).sum().item<int64_t>(), 0);
}

TEST_F(PruneErrors, ForwardsThatCannotBeRecorded) {
  const PrunerOptions options{.energy = Budget::percent(50), .profile = profile};
  EXPECT_THROW(Pruner(*network.net, {}, options), c10::ValueError);
  EXPECT_THROW(Pruner(*network.net, {[] {}, 1}, options), c10::ValueError);
  auto forward = network.forward();
  forward.batch = -1;
  EXPECT_THROW(Pruner(*network.net, forward, options), c10::ValueError);
  forward = network.forward();
  forward.per = "token";
  EXPECT_THROW(Pruner(*network.net, forward, options), c10::ValueError);
  EXPECT_THROW(Pruner(*network.net, {[] { throw std::runtime_error("mine"); }, 1}, options), std::runtime_error);
  EXPECT_NO_THROW(estimate(*network.net, network.forward(), profile)) << "the recorder is free again";
  EXPECT_TRUE(network.net->is_training());
}

TEST_F(PruneErrors, UnknownProfiles) {
  const auto what = message_of<ProfileError>([] { Profile::load("eyeriss-66nm"); });
  EXPECT_NE(what.find("eyeriss-66nm"), std::string::npos) << what;
  EXPECT_THROW(Profile::parse("{\"schema\": 1}", "test"), ProfileError);
  EXPECT_THROW(Profile::parse("not json", "test"), ProfileError);
  EXPECT_THROW(Profile::load("/nowhere/profile.json"), c10::ValueError) << "also catchable as torch's error";
}

TEST(ValueErrors, CoreErrorsBecomeTheNamedOnes) {
  EXPECT_THROW(with_value_errors([] { throw core::ProfileError("p"); }), ProfileError);
  EXPECT_THROW(with_value_errors([] { throw core::PatternError("p"); }), PatternError);
  EXPECT_THROW(with_value_errors([] { throw core::MeterError("m"); }), MeterError);
  EXPECT_THROW(with_value_errors([] { throw std::invalid_argument("i"); }), c10::ValueError);
  EXPECT_THROW(with_value_errors([] { throw std::runtime_error("r"); }), std::runtime_error);
  EXPECT_EQ(with_value_errors([] { return 7; }), 7);
  try {
    with_value_errors([] { throw core::BudgetError("too small", 2.5); });
    FAIL() << "no error";
  } catch (const BudgetError& error) {
    EXPECT_EQ(error.minimum_j(), 2.5);
    EXPECT_STREQ(error.what(), "too small");
  }
}

}  // namespace
}  // namespace jouleprune::tests
