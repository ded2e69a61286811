// Which calls of a forward pass multiply by which weight: what a recorded Entry no longer tells (height and width, the input itself).
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace at {
struct RecordFunction;
}

namespace jouleprune::prune {

using NamedWeights = std::vector<std::pair<std::string, at::Tensor>>;

/// A call of an op that uses a weight: "linear" (which torch::nn::Linear runs as addmm or matmul), "conv1d", "conv2d", "lstm", "gru".
struct WatchedCall {
  std::string op;
  at::Tensor input;
  c10::ArrayRef<const c10::IValue> arguments;  // valid while the note is taken
  size_t after_input = 1;                      // where the arguments that may be weights begin
};

/// The call, if it is one of a watched op.
std::optional<WatchedCall> watched_call(const at::RecordFunction& function);
/// Which of the weights it uses.
std::vector<std::string> weights_of(const WatchedCall& call, const NamedWeights& weights);

/// Told of each call. May run ops of its own, which are not watched.
using Note = std::function<void(const std::string& weight, const WatchedCall& call)>;

/// Runs `run` without gradients and notes the calls that use one of the weights; not those that other such calls make.
void watch(const std::function<void()>& run, const NamedWeights& weights, const Note& note);

/// Sizes of the inputs of convolutions, by weight name, in call order.
using InputSizes = std::map<std::string, std::vector<std::vector<int64_t>>>;
InputSizes conv_input_sizes(const std::function<void()>& run, const NamedWeights& weights);

}  // namespace jouleprune::prune
