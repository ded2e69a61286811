// Op select_masks through the dispatcher: dtypes, strides, errors inside the JSON, probe without tensors.
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/rand.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>

#include "energy/profile_data.h"
#include "networks.h"

namespace jouleprune::plan::testing {
namespace {

using Json = nlohmann::json;

std::string request(const char* budget) {
  return Json{{"schema", 1},
              {"workload", Json::parse(mlp_workload(1).to_json())},
              {"profile", Json::parse(energy::load_profile("eyeriss-65nm").to_json())},
              {"pattern", "unstructured"},
              {"importance", "lamp"},
              {"weights", {{{"name", "1.weight"}, {"min_density", 0.0}}, {{"name", "3.weight"}, {"min_density", 0.5}}}},
              {"budget", budget}}
      .dump();
}

std::tuple<std::vector<at::Tensor>, std::string> select_masks(const std::vector<at::Tensor>& importance,
                                                              const std::string& text) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("jouleprune::select_masks", "")
          .typed<std::tuple<std::vector<at::Tensor>, std::string>(at::TensorList, c10::string_view)>();
  return op.call(importance, text);
}

Json error_of(const std::vector<at::Tensor>& importance, const std::string& text) {
  const auto [masks, answer] = select_masks(importance, text);
  EXPECT_TRUE(masks.empty());
  return Json::parse(answer).at("error");
}

TEST(SelectMasks, BitsOfTheKeptWeights) {
  const at::Tensor first = at::rand({128, 784}), second = at::rand({10, 128});
  const auto [masks, text] = select_masks({first, second}, request("40%"));
  const Json plan = Json::parse(text);
  ASSERT_EQ(masks.size(), 2u);
  for (size_t i = 0; i < masks.size(); ++i) {
    const int64_t units = i == 0 ? 128 * 784 : 1280;
    ASSERT_EQ(masks[i].scalar_type(), at::kByte);
    if (plan.at("layers").at(i).at("pattern") == "dense") {
      EXPECT_EQ(masks[i].numel(), 0);
      continue;
    }
    ASSERT_EQ(masks[i].numel(), (units + 7) / 8);
    int64_t kept = 0;
    for (int64_t b = 0; b < masks[i].numel(); ++b) kept += std::popcount(masks[i].const_data_ptr<uint8_t>()[b]);
    EXPECT_EQ(kept, plan.at("layers").at(i).at("kept"));
  }
  EXPECT_GE(plan.at("layers").at(1).at("kept"), 640);
  EXPECT_LE(plan.at("energy_j"), plan.at("budget_j"));
}

TEST(SelectMasks, AnyFloatTypeAndStrides) {
  const at::Tensor first = at::rand({784, 128}).to(at::kBFloat16), second = at::rand({10, 128}).to(at::kBFloat16);
  const auto expected = select_masks({first.t().to(at::kFloat).contiguous(), second.to(at::kFloat)}, request("40%"));
  const auto strided = select_masks({first.t(), second.to(at::kDouble).requires_grad_()}, request("40%"));
  EXPECT_EQ(std::get<1>(expected), std::get<1>(strided));
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(at::equal(std::get<0>(expected)[i], std::get<0>(strided)[i]));
}

TEST(SelectMasks, ProbeNeedsNoTensor) {
  Json asked = Json::parse(request("40%"));
  asked["probe"] = true;
  const auto [masks, text] = select_masks({}, asked.dump());
  EXPECT_TRUE(masks.empty());
  const Json plan = Json::parse(text);
  EXPECT_LT(plan.at("minimum_j"), plan.at("dense_j"));
  EXPECT_EQ(plan.at("layers").size(), 2u);
}

TEST(SelectMasks, ErrorsComeBackNamed) {
  const at::Tensor first = at::rand({128, 784}), second = at::rand({10, 128});
  const Json low = error_of({first, second}, request("0.001%"));
  EXPECT_EQ(low.at("type"), "BudgetError");
  EXPECT_GT(low.at("minimum_j").get<double>(), 0);
  EXPECT_EQ(error_of({first, second}, "{").at("type"), "ValueError");
  EXPECT_EQ(error_of({first}, request("40%")).at("type"), "ValueError");
  EXPECT_EQ(error_of({first, first}, request("40%")).at("type"), "ValueError");
  EXPECT_EQ(error_of({first, second.to(at::kLong)}, request("40%")).at("type"), "ValueError");
  EXPECT_EQ(error_of({first, at::full({10, 128}, std::nan(""))}, request("40%")).at("type"), "ValueError");
  const Json negative = error_of({first, -second}, request("40%"));
  EXPECT_NE(negative.at("message").get<std::string>().find("3.weight"), std::string::npos);
}

}  // namespace
}  // namespace jouleprune::plan::testing
