#include "prune/watch.h"

#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string_view>
#include <utility>

namespace jouleprune::prune {
namespace {

struct Watch {
  const NamedWeights& weights;
  const Note& note;
  int depth = 0;  // of watched ops: what these run inside is no call of its own
};

// The callback is a plain function: its state is the watch of the thread that runs the pass.
thread_local Watch* current = nullptr;

class Current {
 public:
  explicit Current(Watch* watch) : before_(std::exchange(current, watch)) {}
  ~Current() { current = before_; }
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;

 private:
  Watch* before_;
};

struct Kind {
  const char* op;
  size_t input;  // which argument it is
};

const Kind* kind_of(std::string_view name) {
  static const std::map<std::string_view, Kind> kinds = {
      {"aten::linear", {"linear", 0}}, {"aten::addmm", {"linear", 1}}, {"aten::matmul", {"linear", 0}}, {"aten::conv1d", {"conv1d", 0}},
      {"aten::conv2d", {"conv2d", 0}}, {"aten::lstm", {"lstm", 0}},    {"aten::gru", {"gru", 0}}};
  const auto found = kinds.find(name);
  return found == kinds.end() ? nullptr : &found->second;
}

/// The weight itself, or its transpose.
bool is_weight(const at::Tensor& tensor, const at::Tensor& weight) {
  return tensor.is_same(weight) || (tensor.defined() && tensor.numel() > 0 && tensor.numel() == weight.numel() &&
                                    tensor.const_data_ptr() == weight.const_data_ptr());
}

bool uses(const c10::IValue& argument, const at::Tensor& weight) {
  if (argument.isTensor()) {
    return is_weight(argument.toTensor(), weight);
  }
  if (!argument.isTensorList()) {
    return false;
  }
  const auto tensors = argument.toTensorVector();
  return std::any_of(tensors.begin(), tensors.end(), [&](const at::Tensor& tensor) { return is_weight(tensor, weight); });
}

/// Open while a watched op runs.
struct Open : at::ObserverContext {};

std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& function) {
  const auto call = current == nullptr ? std::nullopt : watched_call(function);
  if (!call.has_value()) return nullptr;
  Watch& watch = *current;
  if (watch.depth++ == 0) {
    const Current none(nullptr);
    for (const auto& weight : weights_of(*call, watch.weights)) watch.note(weight, *call);
  }
  return std::make_unique<Open>();
}

void end(const at::RecordFunction&, at::ObserverContext* context) {
  if (current != nullptr && dynamic_cast<Open*>(context) != nullptr) --current->depth;
}

class Callback {
 public:
  Callback()
      : handle_(at::addThreadLocalCallback(at::RecordFunctionCallback(begin, end).needsInputs(true).scopes({at::RecordScope::FUNCTION}))) {}
  ~Callback() { at::removeCallback(handle_); }
  Callback(const Callback&) = delete;
  Callback& operator=(const Callback&) = delete;

 private:
  at::CallbackHandle handle_;
};

}  // namespace

std::optional<WatchedCall> watched_call(const at::RecordFunction& function) {
  const Kind* kind = kind_of(function.name());
  if (kind == nullptr) return std::nullopt;
  const auto inputs = function.inputs();
  if (inputs.size() <= kind->input + 1 || !inputs[kind->input].isTensor()) return std::nullopt;
  return WatchedCall{kind->op, inputs[kind->input].toTensor(), inputs, kind->input + 1};
}

std::vector<std::string> weights_of(const WatchedCall& call, const NamedWeights& weights) {
  std::vector<std::string> used;
  for (const auto& [name, weight] : weights) {
    const auto uses_it = [&weight = weight](const c10::IValue& argument) { return uses(argument, weight); };
    if (std::any_of(call.arguments.begin() + call.after_input, call.arguments.end(), uses_it)) used.push_back(name);
  }
  return used;
}

void watch(const std::function<void()>& run, const NamedWeights& weights, const Note& note) {
  if (weights.empty()) {
    return;
  }
  const at::NoGradGuard no_grad;
  Watch state{weights, note};
  const Current watching(&state);
  const Callback callback;
  run();
}

InputSizes conv_input_sizes(const std::function<void()>& run, const NamedWeights& weights) {
  InputSizes sizes;
  watch(run, weights, [&](const std::string& weight, const WatchedCall& call) {
    if (call.op.starts_with("conv")) sizes[weight].push_back(call.input.sizes().vec());
  });
  return sizes;
}

}  // namespace jouleprune::prune
