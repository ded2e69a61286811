// What selection needs besides the weights: recorded once, then asked at every update of a schedule.
#pragma once
#include <jouleprune/prune.h>
#include <torch/nn/module.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "plan/planner.h"
#include "prune/criteria/context.h"

namespace jouleprune::prune {

class Selector {
 public:
  /// Runs `forward` once, finds what can be pruned, prices it. `op` opens error messages. Throws BudgetError, ProfileError,
  /// PatternError, c10::ValueError.
  Selector(const std::string& op, torch::nn::Module& module, const Forward& forward, const PrunerOptions& options);

  /// The next three in the currency of the budget: joules, bytes, or multiply-adds.
  double budget() const { return budget_; }
  double dense() const { return planner_->dense(); }
  double minimum() const { return planner_->minimum_j(); }
  double dense_j() const { return planner_->dense_j(); }
  bool in_joules() const { return planner_->request().prune_for == "joules"; }
  const Profile& profile() const { return planner_->request().profile; }
  const plan::Request& request() const { return planner_->request(); }

  /// Masks of least importance lost within the budget.
  MaskedPlan select(torch::nn::Module& module, const std::vector<bool>* frozen) const;
  /// From now on the weights that the plan prunes keep its patterns ("auto" chooses them once).
  void settle_patterns(const Plan& plan);
  /// From now on plans follow these limits in place of those of this machine's table. Throws BudgetError when the budget is out of
  /// reach then; nothing has changed.
  void follow(std::vector<MeasuredLimit> measured);
  /// For a step on the way of a schedule.
  MaskedPlan select_relaxed(torch::nn::Module& module, double target, const std::vector<bool>& frozen) const;
  /// The recorded workload with every prunable weight unmasked: what percentages refer to.
  Workload dense_workload() const;

 private:
  std::vector<at::Tensor> scores(torch::nn::Module& module) const;
  criteria::Context context(torch::nn::Module& module) const;
  MaskedPlan to_masked(plan::Result result) const;
  void check_reachable(const plan::Planner& planner) const;

  std::string op_;
  PrunerOptions options_;
  std::function<void()> forward_;
  std::vector<std::string> unable_;  ///< "fc1: why it cannot run sparse"
  double budget_ = 0;
  std::unique_ptr<const plan::Planner> planner_;
};

}  // namespace jouleprune::prune
