// The Pruner: brings a module in training to a joule budget along a schedule, and keeps it there.
#include <jouleprune/ops.h>
#include <jouleprune/prune.h>
#include <jouleprune/value_errors.h>

#include "prune/masks.h"
#include "prune/notes.h"
#include "prune/schedule.h"
#include "prune/selector.h"
#include "prune/state.h"

namespace jouleprune {

struct Pruner::Impl {
  Impl(torch::nn::Module& module_, const Forward& forward, const PrunerOptions& options)
      : owner(module_.weak_from_this().lock()),
        module(module_),
        schedule((prune::check_schedule(options.schedule), options.schedule)),
        selector("Pruner", module_, forward, options),
        masks(module_) {}

  void update(std::optional<double> target) {
    if (!target.has_value()) {
      adopt(selector.select(module, frozen.has_value() ? &*frozen : nullptr));
      done = true;
      return;
    }
    if (!frozen.has_value()) {  // the layers that the final budget prunes are decided once, on the dense weights
      const MaskedPlan last = selector.select(module, nullptr);
      frozen = last.decided;
      selector.settle_patterns(last);
    }
    adopt(selector.select_relaxed(module, *target, *frozen));
  }

  void adopt(MaskedPlan chosen) {
    warn_of(chosen);
    present = std::move(chosen);
    masks.replace(present->masks);
  }

  void warn_of(const MaskedPlan& chosen) const {
    prune::warn_emptied(chosen, present.has_value() ? present->emptied() : std::vector<std::string>());
  }

  double target(double share) const { return selector.budget() + (selector.dense() - selector.budget()) * (1 - share); }

  void resume(prune::SavedState saved, bool restore_rng) {
    if (saved.measured.has_value()) selector.follow(std::move(*saved.measured));  // times measured since then play no part
    if (saved.plan.has_value() && saved.frozen.has_value()) selector.settle_patterns(*saved.plan);
    steps = saved.step, done = saved.done, owed = saved.owed;
    frozen = std::move(saved.frozen);
    present = std::move(saved.plan);
    if (restore_rng && saved.rng.defined()) prune::set_rng_state(saved.rng);
    masks.replace(present.has_value() ? present->masks : std::map<std::string, at::Tensor>());
  }

  std::shared_ptr<torch::nn::Module> owner;  // keeps the module alive; empty for a module on the stack
  torch::nn::Module& module;
  Schedule schedule;
  prune::Selector selector;
  prune::MaskSet masks;
  std::optional<std::vector<bool>> frozen;
  std::optional<MaskedPlan> present;
  bool done = false;  // the final selection was made; a step on the way may have met the budget without being maximal
  bool owed = false;  // of a state: masks that were due are chosen at the next step
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
  } else if (impl_->owed || prune::updates_at(impl_->schedule, step)) {
    impl_->update(impl_->target(prune::share_at(impl_->schedule, step)));
  } else {
    impl_->masks.apply();
  }
  impl_->owed = false;
  impl_->steps = step + 1;
}

const MaskedPlan& Pruner::prune_now() {
  impl_->update(std::nullopt);
  return *impl_->present;
}

const MaskedPlan& Pruner::prune_to(double share) {
  TORCH_CHECK_VALUE(share >= 0 && share <= 1, "Pruner::prune_to: share: expected a number in [0, 1], got ", share);
  impl_->update(share == 1 ? std::nullopt : std::make_optional(impl_->target(share)));
  return *impl_->present;
}

void Pruner::keep() { impl_->masks.apply(); }

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
double Pruner::budget_j() const { return impl_->selector.in_joules() ? impl_->selector.budget() : energy_j(); }
double Pruner::dense_j() const { return impl_->selector.dense_j(); }
double Pruner::minimum_j() const { return impl_->selector.in_joules() ? impl_->selector.minimum() : energy_j(); }
bool Pruner::done() const { return impl_->done; }
int64_t Pruner::steps() const { return impl_->steps; }
void Pruner::remove() { impl_->masks.clear(); }

c10::IValue Pruner::state_dict() const {
  return prune::to_dict({impl_->steps, impl_->done, impl_->owed, impl_->present, impl_->frozen, std::nullopt, prune::rng_state()}, impl_->selector,
                        impl_->schedule);
}

void Pruner::load_state_dict(const c10::IValue& state, bool restore_rng) {
  impl_->resume(prune::from_dict(state, impl_->selector, impl_->schedule, impl_->module), restore_rng);
}

void Pruner::save(torch::serialize::OutputArchive& archive) const { prune::write_dict(state_dict(), archive); }
void Pruner::load(torch::serialize::InputArchive& archive) { load_state_dict(prune::read_dict(archive)); }

torch::serialize::OutputArchive& operator<<(torch::serialize::OutputArchive& archive, const Pruner& pruner) {
  pruner.save(archive);
  return archive;
}

torch::serialize::InputArchive& operator>>(torch::serialize::InputArchive& archive, Pruner& pruner) {
  pruner.load(archive);
  return archive;
}

at::Tensor Pruner::parameter(const std::string& name) const {
  const auto& masks = plan().masks;
  if (masks.count(name) == 0) {
    std::string names;
    for (const auto& mask : masks) names += (names.empty() ? "" : ", ") + mask.first;
    throw c10::ValueError("Pruner::parameter: name: expected a pruned weight (" + names + "), got '" + name + "'");
  }
  const auto parameters = impl_->module.named_parameters();
  const auto* found = parameters.find(name);
  TORCH_CHECK_VALUE(found != nullptr, "Pruner::parameter: name: the module has no parameter '", name, "' any more");
  return *found;
}

void Pruner::move_masks(const std::map<std::string, at::Tensor>& masks) {
  for (const auto& [name, bits] : masks) {
    const auto weight = parameter(name);
    const auto kept = [&](const at::Tensor& mask) { return unpack_mask(mask, weight.sizes()).sum().item<int64_t>(); };
    const auto expected = kept(plan().masks.at(name)), got = kept(bits);
    TORCH_CHECK_VALUE(got == expected, "Pruner::move_masks: masks: '", name, "': expected ", expected, " kept weights, got ", got);
  }
  for (const auto& [name, bits] : masks) impl_->present->masks[name] = bits.cpu().clone();
  impl_->masks.replace(impl_->present->masks);
}

bool Pruner::prunes(const torch::nn::Module& module) const { return &impl_->module == &module; }

MaskedPlan make_plan(torch::nn::Module& module, const Forward& forward, const PrunerOptions& options) {
  auto plan = prune::Selector("make_plan", module, forward, options).select(module, nullptr);
  prune::warn_emptied(plan, {});
  return plan;
}

}  // namespace jouleprune
