#include "plan/request_json.h"

#include <cmath>
#include <limits>

#include "energy/json_reader.h"
#include "energy/profile_data.h"
#include "plan/currency.h"
#include "plan/limits_json.h"

namespace jouleprune::plan {
namespace {
using energy::Json;
using energy::Node;

constexpr size_t kMostWeights = 1 << 20, kMostWords = 64;

const energy::Document kRequestDocument{"request", energy::throw_invalid_argument};

std::optional<Budget> budget_from(const Node& in) {
  if (in.has("budget") && in.has("budget_j")) in.fail_plainly("expected budget or budget_j, got both");
  if (in.has("budget")) return Budget::parse(in.at("budget").text());
  if (in.has("budget_j")) return Budget::joules(in.at("budget_j").number());
  return std::nullopt;
}

std::vector<std::string> words_from(const Node& in) {
  std::vector<std::string> words;
  for (size_t i = 0; i < in.array_size(kMostWords); ++i) words.push_back(in.item(i).text());
  return words;
}

std::vector<PrunableWeight> weights_from(const Node& in) {
  std::vector<PrunableWeight> weights;
  for (size_t i = 0; i < in.array_size(kMostWeights); ++i) {
    const Node weight = in.item(i);
    weight.expect_keys({"name", "min_density", "pattern", "layouts", "dtypes", "copies"});
    PrunableWeight& made = weights.emplace_back();
    made.name = weight.at("name").text();
    if (weight.has("min_density")) made.min_density = weight.at("min_density").number();
    if (weight.has("pattern")) made.pattern = weight.at("pattern").text();
    if (weight.has("copies")) made.copies = weight.at("copies").count();
    if (weight.has("layouts")) made.layouts = words_from(weight.at("layouts"));
    if (weight.has("dtypes")) made.dtypes = words_from(weight.at("dtypes"));
  }
  return weights;
}

std::string error_text(const char* type, const std::string& message, double minimum_j) {
  Json error = {{"type", type}, {"message", message}, {"minimum_j", nullptr}};
  if (std::isfinite(minimum_j)) error["minimum_j"] = minimum_j;
  return Json{{"error", error}}.dump(-1, ' ', false, Json::error_handler_t::replace);
}
}  // namespace

SelectRequest parse_select_request(std::string_view text) {
  const Json document = energy::parse_json(text, kRequestDocument);
  const Node in(document, kRequestDocument);
  in.expect_keys({"schema", "workload", "profile", "pattern", "importance", "weights", "measured", "budget", "budget_j",
                  "relaxed_j", "frozen", "probe", "prune_for", "other_bytes", "together"});
  if (in.at("schema").number() != 1) in.at("schema").fail("1");
  SelectRequest out{Request{Workload::parse(in.at("workload").json().dump()),
                            energy::parse_profile(in.at("profile").json().dump(), "request: /profile"),
                            in.at("pattern").text(), in.at("importance").text(), weights_from(in.at("weights"))},
                    budget_from(in), std::nullopt, std::nullopt, std::nullopt, in.has("probe") && in.at("probe").boolean()};
  if (in.has("measured")) out.request.measured = limits_from(in.at("measured"));
  if (in.has("prune_for")) out.request.prune_for = in.at("prune_for").text();
  if (in.has("other_bytes")) out.request.other_bytes = in.at("other_bytes").count();
  if (in.has("together")) {
    const Node sharing = in.at("together");
    sharing.expect_keys({"group", "rank", "size"});
    out.sharing = Sharing{sharing.at("group").text(), sharing.at("rank").count(), sharing.at("size").count()};
    if (out.sharing->rank >= out.sharing->size) sharing.at("rank").fail("a number below size");
  }
  if (in.has("relaxed_j")) out.relaxed_j = in.at("relaxed_j").number();
  if (in.has("frozen")) {
    const Node frozen = in.at("frozen");
    out.frozen.emplace();
    for (size_t i = 0; i < frozen.array_size(kMostWeights); ++i) out.frozen->push_back(frozen.item(i).boolean());
  }
  if (!out.budget && !out.probe) in.fail_plainly("expected budget or budget_j, got neither");
  if (out.relaxed_j && !out.frozen) in.fail_plainly("expected frozen with relaxed_j, got none");
  return out;
}

Result answer(const SelectRequest& asked, std::span<const std::span<const float>> importance, const select::Together* together) {
  const Planner planner(asked.request);
  const std::string_view unit = unit_of(parse_currency(asked.request.prune_for));
  const double budget_j = asked.budget ? asked.budget->resolve(planner.dense(), unit) : planner.dense();
  Result result;
  if (asked.probe) {
    planner.check_budget(budget_j);
    result.plan = planner.dense_plan();
  } else if (asked.relaxed_j) {
    result = planner.select_relaxed(importance, *asked.relaxed_j, *asked.frozen, together);
  } else {
    result = planner.select(importance, budget_j, asked.frozen ? &*asked.frozen : nullptr, together);
  }
  // Whatever the step, the plan names the budget that was asked for.
  set_budget(result.plan, budget_j, asked.budget ? asked.budget->to_string() : "100%");
  return result;
}

std::string error_json(std::exception_ptr error) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  try {
    std::rethrow_exception(error);
  } catch (const core::BudgetError& e) {
    return error_text("BudgetError", e.what(), e.minimum_j);
  } catch (const core::PatternError& e) {
    return error_text("PatternError", e.what(), kNone);
  } catch (const core::ProfileError& e) {
    return error_text("ProfileError", e.what(), kNone);
  } catch (const std::invalid_argument& e) {
    return error_text("ValueError", e.what(), kNone);
  }
}

}  // namespace jouleprune::plan
