#include "prune/masks.h"

#include <ATen/core/grad_mode.h>
#include <jouleprune/ops.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <utility>

namespace jouleprune::prune {
namespace {

/// Runs after a gradient was accumulated, so that accumulation over several backward passes stays masked. A tensor has one such
/// hook: one that was there before is kept and called first.
class MaskGradient final : public torch::autograd::PostAccumulateGradHook {
 public:
  MaskGradient(std::shared_ptr<const HookedMask> mask, std::unique_ptr<torch::autograd::PostAccumulateGradHook> previous)
      : mask_(std::move(mask)), previous_(std::move(previous)) {}

  void operator()(const torch::autograd::Variable& tensor) override {
    if (previous_) {
      (*previous_)(tensor);
    }
    const at::NoGradGuard no_grad;
    auto& grad = tensor.mutable_grad();
    if (mask_->bits.defined() && grad.defined()) {
      apply_mask_(grad, mask_->bits.to(grad.device()));
    }
  }

  const HookedMask* mask() const { return mask_.get(); }
  std::unique_ptr<torch::autograd::PostAccumulateGradHook> take_previous() { return std::move(previous_); }

 private:
  std::shared_ptr<const HookedMask> mask_;
  std::unique_ptr<torch::autograd::PostAccumulateGradHook> previous_;
};

}  // namespace

void MaskSet::replace(const std::map<std::string, at::Tensor>& bits) {
  for (auto it = hooked_.begin(); it != hooked_.end();) {
    if (bits.count(it->first) == 0) {
      unhook(it->second);
      it = hooked_.erase(it);
    } else {
      ++it;
    }
  }
  bits_.clear();
  for (const auto& [name, mask] : bits) {
    bits_.emplace(name, mask.clone());
  }
  apply();
}

void MaskSet::apply() {
  const at::NoGradGuard no_grad;
  const auto parameters = module_->named_parameters();
  for (auto& [name, mask] : bits_) {
    const auto* parameter = parameters.find(name);
    if (parameter == nullptr) {
      if (const auto it = hooked_.find(name); it != hooked_.end()) {
        unhook(it->second);
        hooked_.erase(it);
      }
      continue;
    }
    if (mask.device() != parameter->device()) {
      mask = mask.to(parameter->device());
    }
    hook(name, *parameter, mask);
    apply_mask_(*parameter, mask);
    if (parameter->grad().defined()) {
      apply_mask_(parameter->mutable_grad(), mask);
    }
  }
}

void MaskSet::clear() {
  for (auto& [name, hooked] : hooked_) {
    unhook(hooked);
  }
  hooked_.clear();
  bits_.clear();
}

void MaskSet::hook(const std::string& name, const at::Tensor& parameter, const at::Tensor& bits) {
  if (const auto it = hooked_.find(name); it != hooked_.end()) {
    if (it->second.parameter.is_same(parameter)) {
      it->second.mask->bits = bits;
      return;
    }
    unhook(it->second);  // the module got another parameter
    hooked_.erase(it);
  }
  if (!parameter.requires_grad()) {
    return;
  }
  auto mask = std::make_shared<HookedMask>(HookedMask{bits});
  auto previous = std::move(torch::autograd::impl::post_acc_grad_hooks(parameter));
  torch::autograd::impl::set_post_acc_grad_hooks(parameter, std::make_unique<MaskGradient>(mask, std::move(previous)));
  hooked_.emplace(name, Hooked{parameter, std::move(mask)});
}

void MaskSet::unhook(Hooked& hooked) {
  hooked.mask->bits = at::Tensor();  // a hook that another one wraps stays, and lets every gradient pass
  auto& slot = torch::autograd::impl::post_acc_grad_hooks(hooked.parameter);
  auto* ours = dynamic_cast<MaskGradient*>(slot.get());
  if (ours != nullptr && ours->mask() == hooked.mask.get()) {
    auto previous = ours->take_previous();
    slot = std::move(previous);
  }
}

}  // namespace jouleprune::prune
