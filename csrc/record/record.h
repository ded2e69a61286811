// A forward pass -> a workload, by ATen's record function: eager, scripted, C++ modules, fake tensors alike.
#pragma once
#include <ATen/core/Tensor.h>
#include <jouleprune/energy.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace jouleprune::record {

struct Options {
  int64_t batch = 0;                  ///< 0 = dim 0 of the first tensor an op sees
  bool count_zeros = true;            ///< count the zeros of real weights (nnz); fake tensors count as dense
  bool measure_activations = false;   ///< count the zeros of real inputs into Entry::input_density
};

/// Weights by name: parameters and buffers of the model; entries are tied to them by tensor identity.
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Thread-local recording between begin and end; nested begins are refused (std::logic_error).
void begin(NamedTensors weights, Options options);
/// Throws what a callback collected; always leaves the thread not recording.
Workload end();

/// begin, run without gradients, end; the callback is removed when `run` throws.
Workload run(const std::function<void()>& run, NamedTensors weights, Options options);

}  // namespace jouleprune::record
