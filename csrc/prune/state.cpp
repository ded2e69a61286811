#include "prune/state.h"

#include <ATen/CPUGeneratorImpl.h>
#include <jouleprune/ops.h>
#include <jouleprune/value_errors.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <mutex>

#include "plan/currency.h"
#include "plan/limits_json.h"
#include "prune/plan_fit.h"
#include "prune/schedule.h"

namespace jouleprune::prune {
namespace {

using Dict = c10::impl::GenericDict;

constexpr const char* kWhere = "Pruner::load_state_dict: ";
constexpr std::array kKeys = {"schema",   "step", "done",     "masks", "plan",      "frozen",   "profile_hash",
                              "measured", "rng",  "schedule", "owed",  "prune_for", "budget_j", "adaptive"};
/// States of before they were kept lack these; "schedule" is ours alone, "adaptive" Python's.
constexpr std::array kOptional = {"measured", "rng", "schedule", "owed", "prune_for", "budget_j", "adaptive"};

Dict new_dict() { return Dict(c10::StringType::get(), c10::AnyType::get()); }

/// None where the key is absent.
c10::IValue value_of(const Dict& dict, const char* key) {
  const auto found = dict.find(c10::IValue(std::string(key)));
  return found == dict.end() ? c10::IValue() : c10::IValue(found->value());
}

std::string kind(const c10::IValue& value) {
  return value.isTensor() ? value.toTensor().toString() + " " + c10::str(value.toTensor().sizes()) : value.tagKind();
}

std::string text_of(const Dict& dict, const char* key) {
  const auto value = value_of(dict, key);
  TORCH_CHECK_VALUE(value.isString(), kWhere, key, ": expected text, got ", kind(value));
  return value.toStringRef();
}

void check_keys(const c10::IValue& state) {
  TORCH_CHECK_VALUE(state.isGenericDict(), kWhere, "state: expected the dict of state_dict(), got ", kind(state));
  const auto dict = state.toGenericDict();
  for (const char* key : kKeys) {
    const bool optional = std::find(kOptional.begin(), kOptional.end(), std::string_view(key)) != kOptional.end();
    TORCH_CHECK_VALUE(optional || dict.contains(c10::IValue(std::string(key))), kWhere, key, ": expected a state of schema 1, which has it, got none");
  }
  const auto schema = value_of(dict, "schema");
  TORCH_CHECK_VALUE(schema.isInt() && schema.toInt() == 1, kWhere, "schema: expected 1, got ", schema);
}

std::map<std::string, at::Tensor> masks_of(const Dict& dict) {
  const auto value = value_of(dict, "masks");
  TORCH_CHECK_VALUE(value.isGenericDict(), kWhere, "masks: expected a dict of tensors, got ", kind(value));
  std::map<std::string, at::Tensor> masks;
  for (const auto& item : value.toGenericDict()) {
    TORCH_CHECK_VALUE(item.key().isString(), kWhere, "masks: expected names of weights, got ", kind(item.key()));
    TORCH_CHECK_VALUE(item.value().isTensor() && item.value().toTensor().scalar_type() == at::kByte, kWhere, "masks: '",
                      item.key().toStringRef(), "': expected a uint8 tensor, got ", kind(item.value()));
    masks.emplace(item.key().toStringRef(), item.value().toTensor().cpu().clone());
  }
  return masks;
}

MaskedPlan plan_of(const c10::IValue& text, std::map<std::string, at::Tensor> masks) {
  TORCH_CHECK_VALUE(text.isString(), kWhere, "plan: expected JSON, got ", kind(text));
  try {
    MaskedPlan plan(Plan::parse(text.toStringRef()));
    plan.masks = std::move(masks);
    return plan;
  } catch (const std::invalid_argument& error) {
    throw c10::ValueError(kWhere + std::string("plan: ") + error.what());
  }
}

/// The final budget is ours. Of states that do not tell it the plan does; of others the plan may be one of a step on the way.
void check_budget(const Dict& dict, const std::optional<MaskedPlan>& plan, const Selector& selector) {
  const auto told = value_of(dict, "budget_j"), currency = value_of(dict, "prune_for");
  if (!currency.isNone()) {
    const auto text = text_of(dict, "prune_for");
    TORCH_CHECK_VALUE(text == selector.request().prune_for, kWhere, "prune_for: expected ", selector.request().prune_for, ", got ", text);
  }
  if (told.isNone()) {
    TORCH_CHECK_VALUE(!plan.has_value() || plan::budget_of(*plan) == selector.budget(), kWhere, "plan: budget_j: expected ",
                      selector.budget(), ", got ", plan.has_value() ? plan::budget_of(*plan) : 0);
    return;
  }
  TORCH_CHECK_VALUE(told.isDouble() || told.isInt(), kWhere, "budget_j: expected a number, got ", kind(told));
  const double saved = told.isInt() ? static_cast<double>(told.toInt()) : told.toDouble();
  TORCH_CHECK_VALUE(std::abs(saved - selector.budget()) <= 1e-9 * selector.budget(), kWhere, "budget_j: expected ", selector.budget(),
                    ", got ", saved);
}

bool owed_of(const Dict& dict) {
  const auto owed = value_of(dict, "owed");
  TORCH_CHECK_VALUE(owed.isNone() || owed.isBool(), kWhere, "owed: expected true or false, got ", kind(owed));
  return owed.isBool() && owed.toBool();
}

/// The plan was made for what this pruner was made for.
void check_plan(const MaskedPlan& plan, const Selector& selector, const torch::nn::Module& module) {
  const auto& request = selector.request();
  const auto expect = [](const char* field, const auto& expected, const auto& got) {
    TORCH_CHECK_VALUE(expected == got, kWhere, "plan: ", field, ": expected ", expected, ", got ", got);
  };
  expect("pattern", request.pattern, plan.pattern);
  expect("importance", request.importance, plan.importance);
  expect("prune_for", request.prune_for, plan.prune_for);
  std::vector<std::string> expected, got;
  for (const auto& weight : request.weights) expected.push_back(weight.name);
  for (const auto& layer : plan.layers) got.push_back(layer.weight);
  TORCH_CHECK_VALUE(expected == got, kWhere, "plan: expected the weights ", c10::Join(", ", expected), ", got ", c10::Join(", ", got));
  check_fit(plan, module, std::string(kWhere) + "plan");
}

std::optional<std::vector<bool>> frozen_of(const c10::IValue& value, size_t weights) {
  if (value.isNone()) return std::nullopt;
  const auto fail = [&](const std::string& got) {
    throw c10::ValueError(c10::str(kWhere, "frozen: expected None or ", weights, " flags, got ", got));
  };
  if (!value.isList() && !value.isTuple()) fail(kind(value));
  const auto items = value.isList() ? value.toListRef() : c10::ArrayRef<c10::IValue>(value.toTupleRef().elements());
  if (items.size() != weights) fail(std::to_string(items.size()));
  std::vector<bool> frozen;
  for (const auto& item : items) {
    if (!item.isBool()) fail(kind(item));
    frozen.push_back(item.toBool());
  }
  return frozen;
}

std::optional<std::vector<MeasuredLimit>> measured_of(const c10::IValue& value) {
  if (value.isNone()) return std::nullopt;
  TORCH_CHECK_VALUE(value.isString(), kWhere, "measured: expected JSON, got ", kind(value));
  return with_value_errors([&] { return plan::parse_limits(value.toStringRef(), kWhere + std::string("measured")); });
}

at::Tensor rng_of(const c10::IValue& value) {
  if (value.isNone()) return {};
  const auto now = rng_state();
  TORCH_CHECK_VALUE(value.isTensor() && value.toTensor().scalar_type() == now.scalar_type() && value.toTensor().sizes() == now.sizes(),
                    kWhere, "rng: expected ", now.toString(), " ", now.sizes(), ", got ", kind(value));
  return value.toTensor().cpu();
}

}  // namespace

at::Tensor rng_state() {
  auto generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard<std::mutex> lock(generator.mutex());
  return generator.get_state();
}

void set_rng_state(const at::Tensor& state) {
  auto generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_state(state);
}

c10::IValue to_dict(const SavedState& state, const Selector& selector, const Schedule& schedule) {
  c10::Dict<std::string, at::Tensor> masks;
  if (state.plan.has_value()) {
    for (const auto& [name, bits] : state.plan->masks) masks.insert(name, bits.cpu().clone());
  }
  c10::IValue frozen;
  if (state.frozen.has_value()) {  // a tuple: lists are pickled with a type that Python's unpickler refuses
    std::vector<c10::IValue> flags;
    for (const bool flag : *state.frozen) flags.emplace_back(flag);
    frozen = c10::ivalue::Tuple::create(std::move(flags));
  }
  Dict dict = new_dict();
  dict.insert("schema", 1);
  dict.insert("step", state.step);
  dict.insert("done", state.done);
  dict.insert("owed", state.owed);
  dict.insert("prune_for", selector.request().prune_for);
  dict.insert("budget_j", selector.budget());
  dict.insert("masks", masks);
  dict.insert("plan", state.plan.has_value() ? c10::IValue(state.plan->to_json()) : c10::IValue());
  dict.insert("frozen", frozen);
  dict.insert("profile_hash", selector.profile().hash());
  dict.insert("measured", plan::to_json(selector.request().measured).dump());
  dict.insert("rng", state.rng);
  dict.insert("schedule", describe(schedule));
  return dict;
}

SavedState from_dict(const c10::IValue& state, const Selector& selector, const Schedule& schedule, const torch::nn::Module& module) {
  check_keys(state);
  const Dict dict = state.toGenericDict();
  const auto& profile = selector.profile();
  const auto hash = text_of(dict, "profile_hash");
  TORCH_CHECK_VALUE(hash == profile.hash(), kWhere, "profile_hash: expected that of '", profile.name(), "', ", profile.hash(), ", got ", hash);
  if (!value_of(dict, "schedule").isNone()) {
    const auto text = text_of(dict, "schedule");
    TORCH_CHECK_VALUE(text == describe(schedule), kWhere, "schedule: expected ", describe(schedule), ", got ", text);
  }
  const auto step = value_of(dict, "step"), done = value_of(dict, "done"), plan = value_of(dict, "plan");
  TORCH_CHECK_VALUE(step.isInt() && step.toInt() >= 0, kWhere, "step: expected a whole number of at least 0, got ", step);
  TORCH_CHECK_VALUE(done.isBool(), kWhere, "done: expected true or false, got ", kind(done));
  TORCH_CHECK_VALUE(value_of(dict, "adaptive").isNone() || done.toBool(), kWhere,
                    "adaptive: the state was taken along an AdaptiveSchedule, which Python alone has: go on there, or load it once done");
  auto masks = masks_of(dict);
  SavedState saved;
  saved.step = step.toInt(), saved.done = done.toBool(), saved.owed = owed_of(dict);
  TORCH_CHECK_VALUE(!plan.isNone() || (masks.empty() && !saved.done), kWhere, "plan: expected a plan beside masks, got None");
  if (!plan.isNone()) {
    saved.plan = plan_of(plan, std::move(masks));
    check_plan(*saved.plan, selector, module);
  }
  check_budget(dict, saved.plan, selector);
  saved.frozen = frozen_of(value_of(dict, "frozen"), selector.request().weights.size());
  saved.measured = measured_of(value_of(dict, "measured"));
  saved.rng = rng_of(value_of(dict, "rng"));
  return saved;
}

void write_dict(const c10::IValue& dict, torch::serialize::OutputArchive& archive) {
  for (const auto& item : dict.toGenericDict()) {
    if (!item.value().isNone()) archive.write(item.key().toStringRef(), item.value());
  }
}

c10::IValue read_dict(torch::serialize::InputArchive& archive) {
  Dict dict = new_dict();
  for (const char* key : kKeys) {
    c10::IValue value;
    archive.try_read(key, value);
    dict.insert(std::string(key), value);
  }
  return dict;
}

}  // namespace jouleprune::prune
