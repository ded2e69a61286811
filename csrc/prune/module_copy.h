// Copies of what a module learned, and their way back.
#pragma once
#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <map>
#include <string>

namespace jouleprune::prune {

/// Copies of all parameters and buffers, by name.
std::map<std::string, at::Tensor> copy_of(const torch::nn::Module& module);

/// Writes them back. `where` opens the message of the c10::ValueError when the module has other names or sizes by now; nothing has
/// changed then.
void restore(torch::nn::Module& module, const std::map<std::string, at::Tensor>& state, const std::string& where);

}  // namespace jouleprune::prune
