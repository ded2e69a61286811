#include <ATen/core/grad_mode.h>
#include <jouleprune/ops.h>
#include <jouleprune/ops_criteria.h>
#include <jouleprune/regrow.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <vector>

namespace jouleprune {

struct Regrow::Impl {
  Impl(Pruner& pruner_, const RegrowOptions& options_) : pruner(&pruner_), options(options_) {}

  bool moves_at(int64_t step) const { return 0 < step && step < options.end_step && step % options.frequency == 0; }

  /// Gradients of whole layers, which the pruner's own hook masks later: it runs when they were accumulated.
  void watch(const std::string& name) {
    const at::Tensor parameter = pruner->parameter(name);
    const auto number = parameter.register_hook([this, name](const at::Tensor& grad) {
      if (!moves_at(steps)) return;
      auto& dense = gradients[name];
      dense = dense.defined() ? dense + grad.detach() : grad.detach().clone();
    });
    hooks.emplace_back(parameter, number);
  }

  void unwatch() {
    for (auto& [parameter, number] : hooks) parameter.remove_hook(number);
    hooks.clear();
  }

  /// The mask `place` of `masks`, moved.
  at::Tensor moved(size_t place, size_t masks, const std::string& name, const at::Tensor& bits, double share) const {
    const at::NoGradGuard no_grad;
    const at::Tensor weight = pruner->parameter(name).detach();
    const at::Tensor kept = unpack_mask(bits.to(weight.device()), weight.sizes()).to(at::kBool), removed = kept.logical_not();
    const auto gone = removed.sum().item<int64_t>();
    const auto amount = std::min(static_cast<int64_t>(share * kept.sum().item<double>()), gone);
    const at::Tensor stay = mask_smallest({weight}, amount, {kept})[0];
    at::Tensor worth;
    if (options.grow == "gradient") {
      const auto found = gradients.find(name);
      TORCH_CHECK_VALUE(found != gradients.end(), "Regrow::step: '", name, "' had no backward pass in the step that moves masks");
      worth = found->second;
    } else {
      worth = random_importance(weight, {1, 1}, options.seed, steps * static_cast<int64_t>(masks) + static_cast<int64_t>(place));
    }
    return pack_mask(stay.logical_or(mask_smallest({worth}, gone - amount, {removed})[0]));
  }

  void move() {
    const double share = options.share / 2 * (1 + std::cos(std::numbers::pi * static_cast<double>(steps - 1) / static_cast<double>(options.end_step)));
    const auto& plan = pruner->plan();
    std::map<std::string, at::Tensor> masks;
    for (const auto& layer : plan.layers) {  // in their order: draws are numbered by it
      const auto bits = plan.masks.find(layer.weight);
      if (bits != plan.masks.end()) masks[layer.weight] = moved(masks.size(), plan.masks.size(), layer.weight, bits->second, share);
    }
    pruner->move_masks(masks);
  }

  Pruner* pruner;
  RegrowOptions options;
  int64_t steps = 0;
  std::map<std::string, at::Tensor> gradients;
  std::vector<std::pair<at::Tensor, unsigned>> hooks;
};

Regrow::Regrow(Pruner& pruner, const RegrowOptions& options) {
  constexpr const char* kWhere = "Regrow: ";
  TORCH_CHECK_VALUE(pruner.done(), kWhere, "pruner: expected one that is done: call prune_now() or let its schedule end");
  TORCH_CHECK_VALUE(pruner.plan().pattern == "unstructured", kWhere, "pruner: expected the pattern 'unstructured', got '", pruner.plan().pattern, "'");
  TORCH_CHECK_VALUE(options.end_step >= 1, kWhere, "end_step: expected a whole number of at least 1, got ", options.end_step);
  TORCH_CHECK_VALUE(options.frequency >= 1, kWhere, "frequency: expected a whole number of at least 1, got ", options.frequency);
  TORCH_CHECK_VALUE(options.share > 0 && options.share < 1, kWhere, "share: expected a number in (0, 1), got ", options.share);
  TORCH_CHECK_VALUE(options.grow == "gradient" || options.grow == "random", kWhere, "grow: expected one of gradient, random, got '", options.grow, "'");
  impl_ = std::make_unique<Impl>(pruner, options);
  if (options.grow != "gradient") return;
  for (const auto& mask : pruner.plan().masks) impl_->watch(mask.first);
}

Regrow::~Regrow() {
  if (impl_ != nullptr) remove();
}
Regrow::Regrow(Regrow&&) noexcept = default;
Regrow& Regrow::operator=(Regrow&& other) noexcept {
  if (this != &other) {
    if (impl_ != nullptr) remove();
    impl_ = std::move(other.impl_);
  }
  return *this;
}

void Regrow::step() {
  if (impl_->moves_at(impl_->steps++)) {
    impl_->move();
  } else {
    impl_->pruner->keep();
  }
  impl_->gradients.clear();
}

void Regrow::remove() { impl_->unwatch(); }

c10::IValue Regrow::state_dict() const {
  c10::Dict<std::string, int64_t> state;
  state.insert("schema", 1);
  state.insert("step", impl_->steps);
  return state;
}

void Regrow::load_state_dict(const c10::IValue& state) {
  const auto value_of = [&](const char* key) {
    if (!state.isGenericDict()) return c10::IValue();
    const auto dict = state.toGenericDict();
    const auto found = dict.find(c10::IValue(std::string(key)));
    return found == dict.end() ? c10::IValue() : c10::IValue(found->value());
  };
  const auto schema = value_of("schema"), step = value_of("step");
  TORCH_CHECK_VALUE(schema.isInt() && schema.toInt() == 1 && step.isInt() && step.toInt() >= 0,
                    "Regrow::load_state_dict: state: expected schema 1 with a step of at least 0, got ", state);
  impl_->steps = step.toInt();
}

}  // namespace jouleprune
