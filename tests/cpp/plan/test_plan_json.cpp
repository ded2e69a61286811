#include <gtest/gtest.h>
#include <jouleprune/plan.h>

#include <nlohmann/json.hpp>

#include "curves.h"

namespace jouleprune::plan::testing {
namespace {

using Json = nlohmann::json;

Plan some_plan() {
  Draw draw(5);
  Case made = draw_case(draw, Form::kAffine, 5, 50);
  const Planner planner = made.planner();
  return planner.select(made.importance(), (planner.minimum_j() + planner.dense_j()) / 2).plan;
}

TEST(PlanJson, RoundTrip) {
  const Plan plan = some_plan();
  ASSERT_TRUE(plan.next_unit.has_value());
  const Plan again = Plan::parse(plan.to_json());
  EXPECT_EQ(again.to_json(), plan.to_json());
  EXPECT_EQ(again.energy_j, plan.energy_j);
  EXPECT_EQ(again.minimum_j, plan.minimum_j);
  EXPECT_EQ(again.decided, plan.decided);
  EXPECT_EQ(again.layers.back().reason, plan.layers.back().reason);
  EXPECT_EQ(again.workload.entries.size(), plan.workload.entries.size());
  EXPECT_EQ(again.next_unit->energy_j, plan.next_unit->energy_j);
}

TEST(PlanJson, HasTheFieldsOfTheSchema) {
  const Json json = Json::parse(some_plan().to_json());
  EXPECT_EQ(json.at("schema"), 1);
  for (const char* key : {"profile", "batch", "count", "per", "budget", "energy_j", "dense_j", "activation_density",
                          "tuning", "maximal", "slack_j", "next_unit", "layers"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  for (const char* key :
       {"name", "pattern", "layout", "dtype", "kernel", "density", "energy_j", "importance_lost", "min_density", "reason"}) {
    EXPECT_TRUE(json.at("layers").at(0).contains(key)) << key;
  }
}

TEST(PlanJson, ActivationDensityByLayerUnlessAllAreOne) {
  Plan plan = some_plan();
  EXPECT_EQ(Json::parse(plan.to_json()).at("activation_density"), 1.0);
  for (Entry& entry : plan.workload.entries) {
    if (entry.weight == "w0") entry.input_density = 0.25;
  }
  EXPECT_EQ(Json::parse(plan.to_json()).at("activation_density").at("layer0"), 0.25);
  EXPECT_EQ(Plan::parse(plan.to_json()).to_json(), plan.to_json());
}

TEST(PlanJson, RefusesWhatIsNoPlan) {
  const Json good = Json::parse(some_plan().to_json());
  const auto refused = [&](const std::string& pointer, auto change) {
    Json bad = good;
    change(bad);
    try {
      Plan::parse(bad.dump());
      ADD_FAILURE() << pointer;
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find(pointer), std::string::npos) << error.what();
    }
  };
  refused("/schema", [](Json& j) { j["schema"] = 2; });
  refused("/colour", [](Json& j) { j["colour"] = 1; });
  refused("/energy_j", [](Json& j) { j["energy_j"] = -1; });
  refused("/energy_j", [](Json& j) { j["energy_j"] = "much"; });
  refused("/count", [](Json& j) { j["count"] = 0; });
  refused("/maximal", [](Json& j) { j["maximal"] = 1; });
  refused("/layers/0/kept", [](Json& j) { j["layers"][0]["kept"] = 1'000'000; });
  refused("/layers/0/density", [](Json& j) { j["layers"][0]["density"] = 1.5; });
  refused("/layers/0/taste", [](Json& j) { j["layers"][0]["taste"] = 1; });
  refused("/decided", [](Json& j) { j["decided"].push_back(true); });
  refused("/next_unit/index", [](Json& j) { j["next_unit"]["index"] = -4; });
  refused("/activation_density", [](Json& j) { j["activation_density"] = 2; });
  refused("entries", [](Json& j) { j["workload"]["entries"] = 3; });
  refused("/measured/0/below", [](Json& j) {
    j["measured"] = {{{"weight", "w0"}, {"kernel", "csr"}, {"dtype", "float32"}, {"below", 7}}};
  });
  refused("/duality_gap", [](Json& j) { j["duality_gap"] = -1; });
  refused("/stored_bytes", [](Json& j) { j["stored_bytes"] = -1; });
  refused("prune_for", [](Json& j) { j["prune_for"] = "watts"; });
  refused("amounts", [](Json& j) { j["prune_for"] = "bytes"; });
  refused("/amounts/used", [](Json& j) {
    j["prune_for"] = "macs";
    j["amounts"] = {{"budget", 1}, {"used", -1}, {"dense", 1}, {"minimum", 0}, {"slack", 2}, {"next", nullptr}};
  });
  for (const auto& [key, value] : good.items()) {
    const bool later = key == "duality_gap" || key == "measured" || key == "prune_for" || key == "amounts" || key == "stored_bytes";
    if (later) continue;  // plans of before it was told
    refused("/" + key, [&](Json& j) { j.erase(key); });
  }
  for (const char* text : {"", "{", "[]", "null", "{}", "{\"schema\": 1}", "{\"schema\": 1, \"layers\": ["}) {
    EXPECT_THROW(Plan::parse(text), std::invalid_argument) << text;
  }
}

}  // namespace
}  // namespace jouleprune::plan::testing
