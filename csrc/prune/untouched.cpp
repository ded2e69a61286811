#include "prune/untouched.h"

#include <ATen/core/grad_mode.h>

#include "prune/state.h"

namespace jouleprune::prune {

Untouched::Untouched(torch::nn::Module& module) : eval_mode_(module), rng_(rng_state()) {
  for (auto& parameter : module.parameters()) {
    gradients_.push_back({parameter, parameter.grad(), parameter.requires_grad()});
    parameter.mutable_grad() = at::Tensor();
  }
  for (const auto& buffer : module.buffers()) {
    if (buffer.defined()) buffers_.emplace_back(buffer, buffer.detach().clone());
  }
}

Untouched::~Untouched() {
  const at::NoGradGuard no_grad;
  for (auto& [parameter, grad, requires_grad] : gradients_) {
    if (parameter.requires_grad() != requires_grad) parameter.requires_grad_(requires_grad);
    parameter.mutable_grad() = grad;
  }
  for (auto& [buffer, content] : buffers_) {
    if (!buffer.equal(content)) buffer.copy_(content);
  }
  set_rng_state(rng_);
}

}  // namespace jouleprune::prune
