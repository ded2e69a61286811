// The Pruner: brings a module in training to a joule budget along a schedule, and keeps it there.
#include <jouleprune/prune.h>
#include <jouleprune/value_errors.h>

#include "prune/masks.h"
#include "prune/schedule.h"
#include "prune/selector.h"

namespace jouleprune {

struct Pruner::Impl {
  Impl(torch::nn::Module& module_, const Forward& forward, const PrunerOptions& options)
      : owner(module_.weak_from_this().lock()),
        module(module_),
        schedule((prune::check_schedule(options.schedule), options.schedule)),
        selector("Pruner", module_, forward, options),
        masks(module_) {}

  void update(std::optional<double> target_j) {
    if (!target_j.has_value()) {
      adopt(selector.select(module, frozen.has_value() ? &*frozen : nullptr));
      done = true;
      return;
    }
    if (!frozen.has_value()) {  // the layers that the final budget prunes are decided once, on the dense weights
      const MaskedPlan last = selector.select(module, nullptr);
      frozen = last.decided;
      selector.settle_patterns(last);
    }
    adopt(selector.select_relaxed(module, *target_j, *frozen));
  }

  void adopt(MaskedPlan chosen) {
    present = std::move(chosen);
    masks.replace(present->masks);
  }

  std::shared_ptr<torch::nn::Module> owner;  // keeps the module alive; empty for a module on the stack
  torch::nn::Module& module;
  Schedule schedule;
  prune::Selector selector;
  prune::MaskSet masks;
  std::optional<std::vector<bool>> frozen;
  std::optional<MaskedPlan> present;
  bool done = false;  // the final selection was made; a step on the way may have met the budget without being maximal
  int64_t steps = 0;
};

Pruner::Pruner(torch::nn::Module& module, Forward forward, PrunerOptions options)
    : impl_(std::make_unique<Impl>(module, forward, options)) {}
Pruner::~Pruner() = default;
Pruner::Pruner(Pruner&&) noexcept = default;
Pruner& Pruner::operator=(Pruner&&) noexcept = default;

void Pruner::step() {
  const int64_t step = impl_->steps;
  const bool final = prune::is_final(impl_->schedule, step);
  if (impl_->done) {  // by the schedule or by prune_now(): nothing is left to remove
    impl_->masks.apply();
  } else if (final) {
    impl_->update(std::nullopt);
  } else if (prune::updates_at(impl_->schedule, step)) {
    const double share = prune::share_at(impl_->schedule, step);
    impl_->update(budget_j() + (dense_j() - budget_j()) * (1 - share));
  } else {
    impl_->masks.apply();
  }
  impl_->steps = step + 1;
}

const MaskedPlan& Pruner::prune_now() {
  impl_->update(std::nullopt);
  return *impl_->present;
}

const MaskedPlan& Pruner::plan() const {
  TORCH_CHECK_VALUE(impl_->present.has_value(),
                    "Pruner::plan: nothing has been pruned yet: call step() in the training loop, or prune_now()");
  return *impl_->present;
}

PruneReport Pruner::report() const {
  return with_value_errors([&] {
    PruneReport report;
    report.before = jouleprune::estimate(impl_->selector.dense_workload(), impl_->selector.profile());
    report.after = report.before;
    if (impl_->present.has_value()) {
      report.after = jouleprune::estimate(impl_->present->workload, impl_->selector.profile());
      report.plan = *impl_->present;
    }
    return report;
  });
}

double Pruner::energy_j() const { return impl_->present.has_value() ? impl_->present->energy_j : dense_j(); }
double Pruner::budget_j() const { return impl_->selector.budget_j(); }
double Pruner::dense_j() const { return impl_->selector.dense_j(); }
double Pruner::minimum_j() const { return impl_->selector.minimum_j(); }
bool Pruner::done() const { return impl_->done; }
int64_t Pruner::steps() const { return impl_->steps; }
void Pruner::remove() { impl_->masks.clear(); }

MaskedPlan make_plan(torch::nn::Module& module, const Forward& forward, const PrunerOptions& options) {
  return prune::Selector("make_plan", module, forward, options).select(module, nullptr);
}

}  // namespace jouleprune
