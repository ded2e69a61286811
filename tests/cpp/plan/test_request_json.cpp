#include "plan/request_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "curves.h"
#include "energy/profile_data.h"
#include "networks.h"

namespace jouleprune::plan::testing {
namespace {

using Json = nlohmann::json;

const Profile& eyeriss() {
  static const Profile profile = energy::load_profile("eyeriss-65nm");
  return profile;
}

Json request() {
  return {{"schema", 1},
          {"workload", Json::parse(mlp_workload(1).to_json())},
          {"profile", Json::parse(eyeriss().to_json())},
          {"pattern", "unstructured"},
          {"importance", "lamp"},
          {"weights", {{{"name", "1.weight"}, {"min_density", 0.0}}, {{"name", "3.weight"}}}},
          {"budget", "50%"}};
}

std::vector<std::vector<float>> scores() {
  Draw draw(3);
  return {draw_scores(draw, Scores::kSpread, 784 * 128), draw_scores(draw, Scores::kSpread, 1280)};
}

Result answered(const Json& json) {
  const auto made = scores();
  return answer(parse_select_request(json.dump()), std::vector<std::span<const float>>(made.begin(), made.end()));
}

TEST(SelectRequest, SelectsWithinTheBudget) {
  const Plan plan = answered(request()).plan;
  EXPECT_EQ(plan.budget, "50%");
  EXPECT_EQ(plan.budget_j, plan.dense_j * 0.5);
  EXPECT_LE(plan.energy_j, plan.budget_j);
  EXPECT_EQ(plan.importance, "lamp");
  EXPECT_EQ(plan.profile, "eyeriss-65nm");
}

TEST(SelectRequest, ProbeTellsTheRangeWithoutScores) {
  Json json = request();
  json["probe"] = true;
  const Result result = answer(parse_select_request(json.dump()), {});
  EXPECT_TRUE(result.masks.empty());
  EXPECT_EQ(result.plan.energy_j, result.plan.dense_j);
  EXPECT_EQ(result.plan.budget_j, result.plan.dense_j * 0.5);
  EXPECT_EQ(result.plan.layers.size(), 2u);
  EXPECT_LT(result.plan.minimum_j, result.plan.dense_j);
  json.erase("budget");
  EXPECT_EQ(answer(parse_select_request(json.dump()), {}).plan.budget, "100%");
  json["budget_j"] = result.plan.minimum_j * 0.9;
  EXPECT_THROW(answer(parse_select_request(json.dump()), {}), core::BudgetError);
}

TEST(SelectRequest, StepsNameTheFinalBudget) {
  Json json = request();
  json["frozen"] = {true, true};
  json["relaxed_j"] = answered(request()).plan.dense_j * 0.8;
  const Plan plan = answered(json).plan;
  EXPECT_EQ(plan.budget, "50%");
  EXPECT_GT(plan.energy_j, plan.budget_j);
  EXPECT_EQ(plan.slack_j, plan.budget_j - plan.energy_j);
}

TEST(SelectRequest, NamedErrors) {
  struct Bad {
    const char* type;
    const char* part;
    std::function<void(Json&)> change;
  };
  const std::vector<Bad> cases = {
      {"BudgetError", "120%", [](Json& j) { j["budget"] = "120%"; }},
      {"BudgetError", "abc", [](Json& j) { j["budget"] = "abc"; }},
      {"BudgetError", "minimum", [](Json& j) { j["budget"] = "0.001%"; }},
      {"PatternError", "7:3", [](Json& j) { j["pattern"] = "7:3"; }},
      {"PatternError", "0x4", [](Json& j) { j["weights"][1]["pattern"] = "0x4"; }},
      {"ValueError", "/weights/0/layouts", [](Json& j) { j["weights"][0]["layouts"] = "csr"; }},
      {"ProfileError", "profile", [](Json& j) { j["profile"] = {{"name", "x"}}; }},
      {"ValueError", "/schema", [](Json& j) { j["schema"] = 3; }},
      {"ValueError", "/extra", [](Json& j) { j["extra"] = 3; }},
      {"ValueError", "/weights/0/name", [](Json& j) { j["weights"][0].erase("name"); }},
      {"ValueError", "min_density", [](Json& j) { j["weights"][0]["min_density"] = 1.5; }},
      {"ValueError", "budget", [](Json& j) { j.erase("budget"); }},
      {"ValueError", "budget", [](Json& j) { j["budget_j"] = 1e-6; }},
      {"ValueError", "frozen", [](Json& j) { j["relaxed_j"] = 1e-6; }},
      {"ValueError", "frozen", [](Json& j) { j["frozen"] = {true}; }},
      {"ValueError", "9.weight", [](Json& j) { j["weights"][0]["name"] = "9.weight"; }},
      {"ValueError", "workload", [](Json& j) { j["workload"] = 3; }},
  };
  for (const Bad& bad : cases) {
    Json json = request();
    bad.change(json);
    try {
      answered(json);
      ADD_FAILURE() << bad.part;
    } catch (const std::invalid_argument&) {
      const std::string text = error_json(std::current_exception());
      EXPECT_EQ(text.rfind("{\"error\"", 0), 0u) << text;
      const Json error = Json::parse(text).at("error");
      EXPECT_EQ(error.at("type"), bad.type) << text;
      EXPECT_NE(error.at("message").get<std::string>().find(bad.part), std::string::npos) << text;
      EXPECT_EQ(error.at("minimum_j").is_number(), std::string(bad.part) == "minimum");
    }
  }
  EXPECT_THROW(parse_select_request("{"), std::invalid_argument);
  EXPECT_THROW(parse_select_request(""), std::invalid_argument);
}

TEST(SelectRequest, ErrorsOfOthersPass) {
  EXPECT_THROW(error_json(std::make_exception_ptr(std::runtime_error("disk"))), std::runtime_error);
}

}  // namespace
}  // namespace jouleprune::plan::testing
