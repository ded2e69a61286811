#include "prune/criteria/importance.h"

#include <ATen/core/grad_mode.h>
#include <jouleprune/ops.h>
#include <jouleprune/value_errors.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>

namespace jouleprune::prune::criteria {
namespace {

struct Named {
  std::function<Scores(const Context&)> scores;  ///< empty: op importance, of a weight and its gradient alone
  bool needs_data = false, needs_loss = false;
};

const std::vector<std::pair<std::string, Named>>& table() {
  static const std::vector<std::pair<std::string, Named>> criteria = {
      {"lamp", {}},
      {"magnitude", {}},
      {"gradient", {}},
      {"taylor", {}},
      {"random", {random}},
      {"random_path", {random_path}},
      {"l1", {[](const Context& context) { return norm(context, 1); }}},
      {"l2", {[](const Context& context) { return norm(context, 2); }}},
      {"linf", {[](const Context& context) { return norm(context, std::numeric_limits<double>::infinity()); }}},
      {"fpgm", {fpgm}},
      {"bn_scale", {bn_scale}},
      {"wanda", {wanda, true}},
      {"apoz", {apoz, true}},
      {"mean_activation", {mean_activation, true}},
      {"connection_low", {[](const Context& context) { return connection(context, /*low_first=*/true); }, true}},
      {"connection_high", {[](const Context& context) { return connection(context, /*low_first=*/false); }, true}},
      {"fisher", {fisher, false, true}},
      {"movement", {movement, false, true}},
      {"t_test", {t_score, false, true}},
      {"f_test", {f_score, false, true}},
      {"multi_task", {multi_task, false, true}},
  };
  return criteria;
}

const Named* find(const std::string& name) {
  const auto found = std::find_if(table().begin(), table().end(), [&](const auto& each) { return each.first == name; });
  return found == table().end() ? nullptr : &found->second;
}

/// "l1/sum" -> "l1", "sum"; without a mark the second is empty.
std::pair<std::string, std::string> split(const std::string& importance) {
  const auto mark = importance.find('/');
  if (mark == std::string::npos) return {importance, ""};
  return {importance.substr(0, mark), importance.substr(mark + 1)};
}

at::Tensor of_one(const std::string& name, const Context& context, size_t i) {
  const auto parameter = context.parameter(i);
  const auto& grad = parameter.grad();
  try {
    return importance(parameter.detach(), grad.defined() ? std::make_optional(grad) : std::nullopt, name);
  } catch (c10::Error& error) {
    error.add_context("importance of '" + context.weights[i] + "'");
    throw;
  }
}

/// Scores of one layer made comparable with others': over their sum, or over the sum of those that are not smaller. Source of the second:
/// Lee et al., Layer-adaptive Sparsity for the Magnitude-based Pruning, ICLR 2021, eq. 4, with any score for w^2.
at::Tensor normalised(at::Tensor scores, const std::string& by) {
  scores = scores.detach().to(at::kFloat);
  // w^2 / sum of w^2 not smaller, with w = sqrt(score): in float64, where no two roots round to one.
  if (by == "lamp") return importance(scores.to(at::kDouble).sqrt(), std::nullopt, "lamp");
  const auto total = scores.sum(at::kDouble);
  return total.item<double>() != 0 ? (scores / total).to(at::kFloat) : scores;
}

Scores raw_scores(const std::string& importance_name, const Context& context) {
  if (context.weights.empty()) return {};
  const auto [name, normalise] = split(importance_name);
  const Named* criterion = find(name);
  TORCH_INTERNAL_ASSERT(criterion != nullptr, "importance '", importance_name, "' was not checked");
  Scores scores;
  if (criterion->scores) {
    scores = criterion->scores(context);
  } else if (context.loss && (name == "gradient" || name == "taylor")) {
    scores = gradient(context, name == "taylor");
  } else {
    for (size_t i = 0; i < context.weights.size(); ++i) scores[context.weights[i]] = of_one(name, context, i);
  }
  if (!normalise.empty()) {
    for (auto& [weight, each] : scores) each = normalised(each, normalise);
  }
  return scores;
}

}  // namespace

void check_importance(const std::string& op, const PrunerOptions& options) {
  const auto [name, normalise] = split(options.importance);
  const Named* criterion = find(name);
  const bool marked = name.size() != options.importance.size();
  if (criterion == nullptr || (marked && normalise != "sum" && normalise != "lamp")) {
    std::string names;
    for (const auto& each : table()) names += (names.empty() ? "" : ", ") + each.first;
    throw PatternError(op + ": importance: expected one of " + names + ", alone or followed by /sum or /lamp, got \"" + options.importance + "\"");
  }
  TORCH_CHECK_VALUE(!criterion->needs_data || options.data, op, ": data: importance '", options.importance,
                    "' needs a callable that runs the module over calibration batches, got none");
  const bool has_losses = name == "multi_task" && !options.losses.empty();
  TORCH_CHECK_VALUE(!criterion->needs_loss || options.loss || has_losses, op, ": loss: importance '", options.importance,
                    "' needs a callable that gives the loss of each calibration batch, got none");
  for (size_t i = 0; i < options.losses.size(); ++i) {
    TORCH_CHECK_VALUE(options.losses[i], op, ": losses[", i, "]: expected a callable that gives the loss of each calibration batch, got none");
  }
}

void check_given(const std::string& op, const PrunerOptions& options, const Context& context) {
  for (const auto& [name, scores] : options.importance_scores) {
    const auto place = std::find(context.weights.begin(), context.weights.end(), name);
    TORCH_CHECK_VALUE(place != context.weights.end(), op, ": importance_scores: expected names of prunable weights, got '", name, "'");
    const auto weight = context.weight(static_cast<size_t>(place - context.weights.begin()));
    TORCH_CHECK_VALUE(scores.defined() && scores.sizes() == weight.sizes(), op, ": importance_scores: '", name, "': expected scores of sizes ",
                      weight.sizes(), ", got ", scores.defined() ? c10::str(scores.sizes()) : "none");
  }
}

std::vector<at::Tensor> scores_of(const std::string& importance, const Scores& given, const Context& context) {
  const at::NoGradGuard no_grad;
  Context others{context.module, {}, {}, context.workload, context.forward, context.data, context.loss, context.losses};
  for (size_t i = 0; i < context.weights.size(); ++i) {
    if (given.contains(context.weights[i])) continue;
    others.weights.push_back(context.weights[i]);
    others.patterns.push_back(context.patterns[i]);
  }
  const Scores found = raw_scores(importance, others);
  std::vector<at::Tensor> result;
  for (const auto& name : context.weights) {
    const auto scores = given.contains(name) ? given.at(name).detach().abs() : found.at(name);
    // What float32 cannot hold saturates; NaN goes on to be refused.
    result.push_back(scores.detach().cpu().clamp_max(std::numeric_limits<float>::max()).to(at::kFloat).reshape({-1}).contiguous());
  }
  return result;
}

}  // namespace jouleprune::prune::criteria
