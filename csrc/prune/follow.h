// Where the output of a layer goes next: through batch norms, activations and dropout, by the identity of tensors.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

#include "prune/watch.h"

namespace jouleprune::prune {

/// A layer's output as it is after what changes each number on its own.
struct FollowedOutput {
  std::string weight, op;  ///< op: "linear", "conv1d", "conv2d"
  at::Tensor output;
  bool through_norm = false;  ///< whether a batch norm was on the way
  at::Tensor scale;           ///< the weight of the first one; undefined where it has none
};

/// Runs `run` without gradients and tells the output of every call of a layer that uses one of the weights, once nothing can change it
/// any more: what is still in use is told at the end.
void follow(const std::function<void()>& run, const NamedWeights& weights, const std::function<void(const FollowedOutput&)>& seen);

}  // namespace jouleprune::prune
