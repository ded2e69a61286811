#include "prune/selector.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <jouleprune/ops.h>
#include <jouleprune/value_errors.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <span>
#include <string_view>

#include "plan/currency.h"
#include "plan/limits.h"
#include "prune/criteria/importance.h"
#include "prune/layers.h"
#include "prune/recording.h"
#include "prune/units.h"
#include "select/pattern.h"

namespace jouleprune::prune {
namespace {

constexpr std::array<std::string_view, 5> kSparseOps = {"linear", "conv1d", "conv2d", "lstm", "gru"};
/// Nothing runs them sparse: they are pruned where zeros save by themselves.
constexpr std::array<std::string_view, 5> kMaskedOps = {"conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "rnn"};
constexpr std::array<std::string_view, 2> kDtypes = {"", "int8"};
constexpr std::array<std::string_view, 3> kCurrencies = {"joules", "bytes", "macs"};

template <size_t N>
bool among(const std::array<std::string_view, N>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

template <size_t N>
void check_one_of(const std::string& op, const char* argument, const std::array<std::string_view, N>& allowed,
                  const std::string& value) {
  if (among(allowed, value)) return;
  std::string names;
  for (const auto& name : allowed) {
    names += (names.empty() ? "" : ", ") + (name.empty() ? std::string("\"\"") : std::string(name));
  }
  throw PatternError(op + ": " + argument + ": expected one of " + names + ", got \"" + value + "\"");
}

const Budget& required_budget(const std::string& op, const PrunerOptions& options) {
  if (!options.energy.has_value()) {
    throw BudgetError(op + ": energy: expected a Budget (Budget::percent(50), Budget::joules(1e-3)), got none",
                      std::numeric_limits<double>::quiet_NaN());
  }
  return *options.energy;
}

const Profile& required_profile(const std::string& op, const PrunerOptions& options) {
  if (!options.profile.has_value()) {
    throw ProfileError(op + ": profile: expected a Profile (Profile::load(\"generic-cpu\")), got none");
  }
  return *options.profile;
}

/// Names of the parameters that ignored modules and parameters stand for.
std::set<std::string> ignored_parameters(const std::string& op, torch::nn::Module& module,
                                         const std::vector<std::string>& layers) {
  std::set<std::string> ignored;
  for (const auto& layer : layers) {
    const auto places = modules_of(module);
    const bool is_module =
        std::any_of(places.begin(), places.end(), [&](const Place& place) { return place.path == layer; });
    bool is_parameter = false;
    for (const auto& parameter : module.named_parameters()) {
      const auto& name = parameter.key();
      is_parameter = is_parameter || name == layer;
      if (name == layer || (is_module && (layer.empty() || name.starts_with(layer + ".")))) {
        ignored.insert(name);
      }
    }
    TORCH_CHECK_VALUE(is_module || is_parameter, op,
                      ": ignored_layers: expected names of modules or parameters of the module, got '", layer, "'");
  }
  return ignored;
}

struct Prunable {
  std::vector<std::string> weights;      // in call order
  std::vector<std::string> unable;       // "fc1: why it cannot run sparse"
};

/// Parameters that only prunable ops use, not ignored, and able to run sparse where only that saves anything.
Prunable find_prunable(torch::nn::Module& module, const Workload& workload, const PrunerOptions& options,
                       const std::set<std::string>& ignored) {
  // Where hardware skips zeros they save energy whatever the host runs, and bytes and multiply-adds everywhere; else a sparse layer must.
  const bool zeros_save = options.profile->kind() == "asic" || options.prune_for != "joules";
  std::vector<std::string> order;
  std::map<std::string, bool> prunable_op;
  for (const auto& entry : workload.entries) {
    if (entry.weight.empty()) {
      continue;
    }
    const bool fits = entry.layout == "dense" && (among(kSparseOps, entry.op) || (zeros_save && among(kMaskedOps, entry.op)));
    const auto [it, first] = prunable_op.emplace(entry.weight, fits);
    it->second = it->second && fits;
    if (first) {
      order.push_back(entry.weight);
    }
  }
  const auto parameters = module.named_parameters();
  Prunable found;
  for (const auto& name : order) {
    const auto* parameter = parameters.find(name);
    if (!prunable_op[name] || parameter == nullptr || ignored.count(name) != 0) {
      continue;
    }
    const auto why = zeros_save ? std::string() : obstacle(module, *parameter, options.replace_in_lists);
    if (why.empty()) {
      found.weights.push_back(name);
    } else {
      found.unable.push_back(layer_of(name) + ": " + why);
    }
  }
  return found;
}

/// What convert() can make of the layer that holds the weight: a Linear on the CPU runs blocks and int8 too, a Conv2d int8.
void set_freedom(torch::nn::Module& module, const PrunerOptions& options, plan::PrunableWeight& weight) {
  const at::Tensor parameter = module.named_parameters()[weight.name];
  weight.layouts = {"csr"};
  if (!obstacle(module, parameter, options.replace_in_lists).empty()) {
    weight.layouts = {"dense"};  // masked: no sparse layer takes its place
    return;
  }
  if (!takes_blocks(module, parameter)) return;
  weight.layouts.emplace_back("bsr");
  if (!options.dtype.empty() && parameter.scalar_type() != at::kDouble) weight.dtypes = {options.dtype};
}

std::vector<double> floors(const std::string& op, const std::vector<std::string>& weights, const MinDensity& min_density) {
  std::vector<double> result(weights.size(), 0);
  const auto check = [&](double floor) {
    TORCH_CHECK_VALUE(floor >= 0 && floor <= 1, op, ": min_density: expected shares in [0, 1], got ", floor);
    return floor;
  };
  if (const auto* floor = std::get_if<double>(&min_density)) {
    std::fill(result.begin(), result.end(), check(*floor));
    return result;
  }
  for (const auto& [layer, floor] : std::get<std::map<std::string, double>>(min_density)) {
    const auto it = std::find_if(weights.begin(), weights.end(), [&layer = layer](const std::string& weight) {
      return weight == layer || layer_of(weight) == layer;
    });
    TORCH_CHECK_VALUE(it != weights.end(), op, ": min_density: expected names of prunable layers, got '", layer, "'");
    result[static_cast<size_t>(it - weights.begin())] = check(floor);
  }
  return result;
}

int64_t bytes_of(const at::Tensor& tensor) { return tensor.numel() * static_cast<int64_t>(tensor.element_size()); }

/// Bytes of the module's state beside the weights that may be pruned.
int64_t other_bytes(const torch::nn::Module& module, const std::vector<std::string>& weights) {
  int64_t bytes = 0;
  for (const auto& parameter : module.named_parameters()) {
    const bool prunable = std::find(weights.begin(), weights.end(), parameter.key()) != weights.end();
    if (!prunable) bytes += bytes_of(parameter.value());
  }
  for (const auto& buffer : module.named_buffers()) bytes += bytes_of(buffer.value());
  return bytes;
}

std::vector<std::span<const float>> spans_of(const std::vector<at::Tensor>& scores) {
  std::vector<std::span<const float>> spans;
  for (const auto& tensor : scores) spans.emplace_back(tensor.const_data_ptr<float>(), static_cast<size_t>(tensor.numel()));
  return spans;
}

}  // namespace

Selector::Selector(const std::string& op, torch::nn::Module& module, const Forward& forward, const PrunerOptions& options)
    : op_(op), options_(options), forward_(forward.run) {
  const Budget& budget = required_budget(op, options);
  const auto& profile = required_profile(op, options);
  if (options.pattern != "auto") with_value_errors([&] { jouleprune::select::Pattern::parse(options.pattern); });
  criteria::check_importance(op, options);
  check_one_of(op, "dtype", kDtypes, options.dtype);
  check_one_of(op, "prune_for", kCurrencies, options.prune_for);
  TORCH_CHECK_VALUE(options.dtype.empty() || profile.kind() == "cpu", op, ": dtype: '", options.dtype,
                    "' chooses among kernels for CPUs: expected none for '", profile.name(), "', whose kind is '", profile.kind(),
                    "': there layers run in the number type of their weights");
  const auto ignored = ignored_parameters(op, module, options.ignored_layers);
  auto workload = record_module(op, module, forward, options.activation_density);
  const auto prunable = find_prunable(module, workload, options, ignored);
  const auto least = floors(op, prunable.weights, options.min_density);
  const std::string importance = options.importance_scores.empty() ? options.importance : "importance_scores";
  plan::Request request{std::move(workload), profile, options.pattern, importance, {}};
  for (size_t i = 0; i < prunable.weights.size(); ++i) {
    set_freedom(module, options, request.weights.emplace_back(plan::PrunableWeight{prunable.weights[i], least[i]}));
  }
  request.prune_for = options.prune_for;
  request.other_bytes = other_bytes(module, prunable.weights);
  request.measured = plan::limits_here(request.workload, prunable.weights, profile, at::get_num_threads());
  with_value_errors([&] {
    planner_ = std::make_unique<const plan::Planner>(std::move(request));
    budget_ = budget.resolve(planner_->dense(), plan::unit_of(plan::parse_currency(options.prune_for)));
  });
  criteria::check_given(op, options, context(module));
  unable_ = prunable.unable;
  check_reachable(*planner_);
}

void Selector::check_reachable(const plan::Planner& planner) const {
  if (budget_ >= planner.minimum_j()) return;
  std::ostringstream what;
  const std::string unit = " " + std::string(plan::unit_of(plan::parse_currency(options_.prune_for)));
  what << op_ << ": energy: expected at least " << planner.minimum_j() << unit << ", the least that can be reached on "
       << planner.request().profile.name() << " (dense: " << planner.dense() << unit << "), got " << options_.energy->to_string() << " = "
       << budget_ << unit;
  for (const auto& layer : unable_) {
    what << "; not prunable: " << layer;
  }
  throw BudgetError(what.str(), planner.minimum_j());
}

void Selector::follow(std::vector<MeasuredLimit> measured) {
  plan::Request request = planner_->request();
  request.measured = std::move(measured);
  auto planner = with_value_errors([&] { return std::make_unique<const plan::Planner>(std::move(request)); });
  check_reachable(*planner);
  planner_ = std::move(planner);
}

MaskedPlan Selector::select(torch::nn::Module& module, const std::vector<bool>* frozen) const {
  const auto tensors = scores(module);
  return to_masked(with_value_errors([&] { return planner_->select(spans_of(tensors), budget_, frozen); }));
}

void Selector::settle_patterns(const Plan& plan) {
  plan::Request request = planner_->request();
  if (request.pattern != "auto") {
    return;
  }
  for (size_t i = 0; i < request.weights.size(); ++i) {
    if (plan.decided[i]) request.weights[i].pattern = plan.layers[i].pattern;
  }
  planner_ = std::make_unique<const plan::Planner>(std::move(request));
}

MaskedPlan Selector::select_relaxed(torch::nn::Module& module, double target, const std::vector<bool>& frozen) const {
  const auto tensors = scores(module);
  return to_masked(with_value_errors([&] { return planner_->select_relaxed(spans_of(tensors), target, frozen); }));
}

Workload Selector::dense_workload() const {
  auto workload = planner_->request().workload;
  std::set<std::string> prunable;
  for (const auto& weight : planner_->request().weights) {
    prunable.insert(weight.name);
  }
  for (auto& entry : workload.entries) {
    if (prunable.count(entry.weight) != 0) {
      entry.nnz = entry.weight_elements;
    }
  }
  return workload;
}

criteria::Context Selector::context(torch::nn::Module& module) const {
  const auto& request = planner_->request();
  criteria::Context context{module, {}, {}, request.workload, forward_, options_.data, options_.loss, options_.losses};
  for (const auto& weight : request.weights) {
    context.weights.push_back(weight.name);
    context.patterns.push_back(weight.pattern.empty() ? request.pattern : weight.pattern);
  }
  return context;
}

std::vector<at::Tensor> Selector::scores(torch::nn::Module& module) const {
  try {
    return criteria::scores_of(options_.importance, options_.importance_scores, context(module));
  } catch (c10::Error& error) {
    error.add_context(op_);
    throw;
  }
}

MaskedPlan Selector::to_masked(plan::Result result) const {
  MaskedPlan masked(std::move(result.plan));
  plan::set_budget(masked, budget_, options_.energy->to_string());  // whatever the step, the plan names what was asked for
  const auto& weights = planner_->request().weights;
  for (size_t i = 0; i < weights.size(); ++i) {
    const auto& bits = result.masks[i];
    if (bits.empty()) {
      continue;
    }
    auto tensor = at::empty({static_cast<int64_t>(bits.size())}, at::kByte);
    std::copy(bits.begin(), bits.end(), tensor.mutable_data_ptr<uint8_t>());
    masked.masks.emplace(weights[i].name, std::move(tensor));
  }
  return masked;
}

}  // namespace jouleprune::prune
