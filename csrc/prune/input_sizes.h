// Input sizes of convolution calls in a forward pass: a recorded Entry holds the output pixels, not height and width.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace jouleprune::prune {

/// By weight name, in call order.
using InputSizes = std::map<std::string, std::vector<std::vector<int64_t>>>;

/// Runs `run` without gradients and notes the input of every 2-d convolution that uses one of the weights.
InputSizes conv2d_input_sizes(const std::function<void()>& run,
                              const std::vector<std::pair<std::string, at::Tensor>>& weights);

}  // namespace jouleprune::prune
