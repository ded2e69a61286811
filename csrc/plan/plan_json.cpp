#include <jouleprune/plan.h>

#include <stdexcept>

#include "energy/json_reader.h"
#include "plan/currency.h"
#include "plan/limits_json.h"

namespace jouleprune {
namespace {
using Json = nlohmann::ordered_json;
using energy::Node;

constexpr size_t kMostLayers = 1 << 20;

const energy::Document kPlanDocument{"plan", energy::throw_invalid_argument};

/// One number when all layers share it, else by layer; only entries with weights count.
Json activation_density(const Workload& workload) {
  Json by_layer = Json::object();
  bool all_one = true;
  for (const Entry& entry : workload.entries) {
    if (entry.weight.empty()) continue;
    by_layer[entry.name] = entry.input_density;
    all_one = all_one && entry.input_density == 1.0;
  }
  return all_one ? Json(1.0) : by_layer;
}

Json to_object(const LayerPlan& layer) {
  return Json{{"name", layer.name},         {"weight", layer.weight},   {"pattern", layer.pattern},
              {"layout", layer.layout},     {"dtype", layer.dtype},     {"kernel", layer.kernel},
              {"units", layer.units},       {"kept", layer.kept},       {"density", layer.density},
              {"energy_j", layer.energy_j}, {"dense_j", layer.dense_j}, {"importance_lost", layer.importance_lost},
              {"min_density", layer.min_density}, {"reason", layer.reason}};
}

Json to_object(const Amounts& amounts) {
  return Json{{"budget", amounts.budget},   {"used", amounts.used},   {"dense", amounts.dense},
              {"minimum", amounts.minimum}, {"slack", amounts.slack}, {"next", amounts.next ? Json(*amounts.next) : Json(nullptr)}};
}

double not_negative(const Node& in) {
  const double value = in.number();
  if (value < 0) in.fail("a number of at least 0");
  return value;
}

double share(const Node& in) {
  const double value = in.number();
  if (value < 0 || value > 1) in.fail("a share in [0, 1]");
  return value;
}

LayerPlan layer_from(const Node& in) {
  in.expect_keys({"name", "weight", "pattern", "layout", "dtype", "kernel", "units", "kept", "density", "energy_j",
                  "dense_j", "importance_lost", "min_density", "reason"});
  LayerPlan layer;
  layer.name = in.at("name").text();
  layer.weight = in.at("weight").text();
  layer.pattern = in.at("pattern").text();
  layer.layout = in.at("layout").text();
  layer.dtype = in.at("dtype").text();
  layer.kernel = in.at("kernel").text();
  layer.units = in.at("units").count();
  layer.kept = in.at("kept").count();
  if (layer.kept > layer.units) in.at("kept").fail("at most units = " + std::to_string(layer.units));
  layer.density = share(in.at("density"));
  layer.energy_j = not_negative(in.at("energy_j"));
  layer.dense_j = not_negative(in.at("dense_j"));
  layer.importance_lost = not_negative(in.at("importance_lost"));
  layer.min_density = share(in.at("min_density"));
  layer.reason = in.at("reason").text();
  return layer;
}

std::optional<Amounts> amounts_from(const Node& in) {
  if (in.json().is_null()) return std::nullopt;
  in.expect_keys({"budget", "used", "dense", "minimum", "slack", "next"});
  Amounts amounts;
  amounts.budget = not_negative(in.at("budget"));
  amounts.used = not_negative(in.at("used"));
  amounts.dense = not_negative(in.at("dense"));
  amounts.minimum = not_negative(in.at("minimum"));
  amounts.slack = in.at("slack").number();
  if (!in.at("next").json().is_null()) amounts.next = in.at("next").number();
  return amounts;
}

std::optional<NextUnit> next_unit_from(const Node& in) {
  if (in.json().is_null()) return std::nullopt;
  in.expect_keys({"weight", "index", "energy_j"});
  return NextUnit{in.at("weight").text(), in.at("index").count(), in.at("energy_j").number()};
}

void check_activation_density(const Node& in) {
  if (!in.json().is_object()) {
    share(in);
    return;
  }
  for (const auto& item : in.json().items()) share(in.member(item.key()));
}
}  // namespace

std::string Plan::to_json() const {
  Json out;
  out["schema"] = 1;
  out["prune_for"] = prune_for;
  out["profile"] = profile;
  out["profile_hash"] = profile_hash;
  out["per"] = per;
  out["batch"] = batch;
  out["count"] = count;
  out["pattern"] = pattern;
  out["importance"] = importance;
  out["budget"] = budget;
  out["budget_j"] = budget_j;
  out["energy_j"] = energy_j;
  out["dense_j"] = dense_j;
  out["minimum_j"] = minimum_j;
  out["amounts"] = amounts ? to_object(*amounts) : Json(nullptr);
  out["stored_bytes"] = stored_bytes ? Json(*stored_bytes) : Json(nullptr);
  out["activation_density"] = activation_density(workload);
  out["tuning"] = tuning;
  out["measured"] = plan::to_json(measured);
  out["maximal"] = maximal;
  out["slack_j"] = slack_j;
  out["duality_gap"] = duality_gap ? Json(*duality_gap) : Json(nullptr);
  out["next_unit"] = nullptr;
  if (next_unit)
    out["next_unit"] = {{"weight", next_unit->weight}, {"index", next_unit->index}, {"energy_j", next_unit->energy_j}};
  out["layers"] = Json::array();
  for (const LayerPlan& layer : layers) out["layers"].push_back(to_object(layer));
  out["decided"] = Json::array();
  for (const bool each : decided) out["decided"].push_back(each);
  out["workload"] = Json::parse(workload.to_json());
  return out.dump();
}

Plan Plan::parse(std::string_view text) {
  const energy::Json document = energy::parse_json(text, kPlanDocument);
  const Node in(document, kPlanDocument);
  in.expect_keys({"schema",     "profile", "profile_hash", "per",       "batch",   "count",     "pattern",
                  "importance", "budget",  "budget_j",     "energy_j",  "dense_j", "minimum_j", "activation_density",
                  "tuning",     "maximal", "slack_j",      "duality_gap", "measured", "next_unit", "layers",  "decided",   "workload",
                  "prune_for",  "amounts", "stored_bytes"});
  if (in.at("schema").number() != 1) in.at("schema").fail("1");
  Plan plan;
  plan.profile = in.at("profile").text();
  plan.profile_hash = in.at("profile_hash").text();
  plan.per = in.at("per").text();
  plan.batch = in.at("batch").count();
  plan.count = in.at("count").count();
  if (plan.count < 1) in.at("count").fail("at least 1");
  plan.pattern = in.at("pattern").text();
  plan.importance = in.at("importance").text();
  plan.budget = in.at("budget").text();
  plan.budget_j = in.at("budget_j").number();
  plan.energy_j = not_negative(in.at("energy_j"));
  plan.dense_j = not_negative(in.at("dense_j"));
  plan.minimum_j = not_negative(in.at("minimum_j"));
  if (in.has("prune_for")) plan.prune_for = in.at("prune_for").text();
  const bool in_joules = plan::parse_currency(plan.prune_for) == plan::Currency::kJoules;
  if (in.has("amounts")) plan.amounts = amounts_from(in.at("amounts"));
  if (plan.amounts.has_value() == in_joules) in.fail_plainly("expected amounts beside prune_for \"bytes\" or \"macs\", and only there");
  if (in.has("stored_bytes") && !in.at("stored_bytes").json().is_null()) plan.stored_bytes = not_negative(in.at("stored_bytes"));
  check_activation_density(in.at("activation_density"));
  plan.tuning = in.at("tuning").text();
  plan.maximal = in.at("maximal").boolean();
  plan.slack_j = in.at("slack_j").number();
  if (in.has("duality_gap") && !in.at("duality_gap").json().is_null()) plan.duality_gap = not_negative(in.at("duality_gap"));
  if (in.has("measured")) plan.measured = plan::limits_from(in.at("measured"));
  plan.next_unit = next_unit_from(in.at("next_unit"));
  const Node layers = in.at("layers");
  for (size_t i = 0; i < layers.array_size(kMostLayers); ++i) plan.layers.push_back(layer_from(layers.item(i)));
  const Node decided = in.at("decided");
  if (decided.array_size(kMostLayers) != plan.layers.size()) decided.fail("one flag per layer");
  for (size_t i = 0; i < plan.layers.size(); ++i) plan.decided.push_back(decided.item(i).boolean());
  plan.workload = Workload::parse(in.at("workload").json().dump());
  return plan;
}

}  // namespace jouleprune
