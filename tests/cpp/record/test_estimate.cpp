#include <ATen/ops/ones.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <jouleprune/energy.h>
#include <torch/nn/modules/linear.h>

namespace {

TEST(RecordEstimate, PricesAForwardPassPerCount) {
  torch::nn::Linear layer(64, 32);
  const at::Tensor x = at::ones({4, 64});
  const jouleprune::Profile profile = jouleprune::Profile::load("generic-cpu");
  jouleprune::Forward forward{[&] { layer->forward(x); }, 4};
  const jouleprune::EnergyReport report = jouleprune::estimate(forward, profile);
  ASSERT_EQ(report.layers().size(), 1U);
  EXPECT_EQ(report.layers()[0].macs_issued, 4 * 64 * 32);
  EXPECT_EQ(report.batch, 4);
  EXPECT_EQ(report.count, 4);
  EXPECT_GT(report.total_j(), 0);

  forward.per = "token";
  forward.count = 8;
  const jouleprune::EnergyReport per_token = jouleprune::estimate(forward, profile);
  EXPECT_EQ(per_token.per, "token");
  EXPECT_DOUBLE_EQ(per_token.total_j(), report.total_j() / 2);
}

TEST(RecordEstimate, RefusesWhatCannotBePriced) {
  const jouleprune::Profile profile = jouleprune::Profile::load("generic-cpu");
  EXPECT_THROW(jouleprune::estimate(jouleprune::Forward{}, profile), c10::ValueError);
  EXPECT_THROW(jouleprune::estimate(jouleprune::Forward{[] {}}, profile), c10::ValueError);
  const auto relu = [] { at::ones({2}).relu(); };
  EXPECT_THROW(jouleprune::estimate(jouleprune::Forward{relu, -1}, profile), c10::ValueError);
  EXPECT_THROW(jouleprune::estimate(jouleprune::Forward{relu, 1, "token"}, profile), c10::ValueError);
  EXPECT_THROW(jouleprune::estimate(jouleprune::Forward{relu, 1, "year", 3}, profile), c10::ValueError);
}

}  // namespace
