#include "prune/module_copy.h"

#include <ATen/core/grad_mode.h>

#include "prune/recording.h"

namespace jouleprune::prune {

std::map<std::string, at::Tensor> copy_of(const torch::nn::Module& module) {
  std::map<std::string, at::Tensor> state;
  for (const auto& [name, tensor] : named_tensors(module)) {
    if (tensor.defined()) state.emplace(name, tensor.detach().clone());
  }
  return state;
}

void restore(torch::nn::Module& module, const std::map<std::string, at::Tensor>& state, const std::string& where) {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> now;
  for (const auto& [name, tensor] : named_tensors(module)) {
    if (tensor.defined()) now.emplace(name, tensor);
  }
  TORCH_CHECK_VALUE(now.size() == state.size(), where, ": module: expected the ", state.size(), " parameters and buffers of the copy, got ", now.size());
  for (const auto& [name, content] : state) {
    const auto found = now.find(name);
    TORCH_CHECK_VALUE(found != now.end() && found->second.sizes() == content.sizes(), where, ": module: expected '", name, "' of sizes ",
                      content.sizes(), " as in the copy, got ", found == now.end() ? std::string("none") : c10::str(found->second.sizes()));
  }
  for (auto& [name, tensor] : now) tensor.copy_(state.at(name));
}

}  // namespace jouleprune::prune
