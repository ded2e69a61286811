// Running a module without leaving a trace in it.
#pragma once
#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <utility>
#include <vector>

#include "prune/recording.h"

namespace jouleprune::prune {

/// While it lives the module is in eval mode and its parameters have no grad. Afterwards modes, contents of buffers, grad and
/// requires_grad of parameters, and torch's CPU generator are as before.
class Untouched {
 public:
  explicit Untouched(torch::nn::Module& module);
  ~Untouched();
  Untouched(const Untouched&) = delete;
  Untouched& operator=(const Untouched&) = delete;

 private:
  struct Gradient {
    at::Tensor parameter, grad;
    bool requires_grad;
  };
  EvalMode eval_mode_;
  std::vector<Gradient> gradients_;
  std::vector<std::pair<at::Tensor, at::Tensor>> buffers_;  // and their contents
  at::Tensor rng_;
};

}  // namespace jouleprune::prune
