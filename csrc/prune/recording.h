// A module's forward pass as a workload: eval mode for the time of the pass, names from the module, activation densities set.
#pragma once
#include <jouleprune/energy.h>
#include <jouleprune/prune.h>
#include <torch/nn/module.h>

#include <utility>
#include <vector>

#include "record/record.h"

namespace jouleprune::prune {

/// Puts a module into eval mode, and every submodule back into the mode it was in.
class EvalMode {
 public:
  explicit EvalMode(torch::nn::Module& module);
  ~EvalMode();
  EvalMode(const EvalMode&) = delete;
  EvalMode& operator=(const EvalMode&) = delete;

 private:
  std::vector<std::pair<torch::nn::Module*, bool>> modes_;
};

/// Parameters and buffers of the module.
record::NamedTensors named_tensors(const torch::nn::Module& module);

/// Runs `forward` once and records it. `op` opens error messages. Throws c10::ValueError when `forward` or the density is unfit.
Workload record_module(const std::string& op, torch::nn::Module& module, const Forward& forward,
                       const ActivationDensity& activation_density);

}  // namespace jouleprune::prune
