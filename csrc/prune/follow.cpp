#include "prune/follow.h"

#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>

#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

namespace jouleprune::prune {
namespace {

/// Ops that change each number on its own, in place or not.
bool passes_on(std::string_view op) {
  static const std::set<std::string_view> ops = {
      "aten::relu", "aten::relu6", "aten::hardtanh", "aten::leaky_relu", "aten::gelu",    "aten::silu",    "aten::elu",
      "aten::mish", "aten::tanh",  "aten::sigmoid",  "aten::softplus",   "aten::dropout", "aten::hardswish", "aten::feature_dropout"};
  if (op.ends_with('_')) op.remove_suffix(1);
  return ops.contains(op);
}

struct Following {
  const NamedWeights& weights;
  const std::function<void(const FollowedOutput&)>& seen;
  std::map<const c10::TensorImpl*, FollowedOutput> open = {};  // by what the output is now; holds it, so that the address stays its own
  int depth = 0;                                               // of followed ops: what these run inside is no step of its own

  /// Outputs that nobody else holds are what they will ever be.
  void close(bool all) {
    for (auto it = open.begin(); it != open.end();) {
      if (all || it->second.output.use_count() == 1) {
        auto done = std::move(it->second);
        it = open.erase(it);
        seen(done);
      } else {
        ++it;
      }
    }
  }
};

// The callback is a plain function: its state is that of the thread that runs the pass.
thread_local Following* following = nullptr;

class SetFollowing {
 public:
  explicit SetFollowing(Following* state) : before_(std::exchange(following, state)) {}
  ~SetFollowing() { following = before_; }
  SetFollowing(const SetFollowing&) = delete;
  SetFollowing& operator=(const SetFollowing&) = delete;

 private:
  Following* before_;
};

/// Open while a followed op runs: the weights that a layer uses, or the output that an op passes on.
struct Step : at::ObserverContext {
  std::vector<FollowedOutput> begun;
};

std::unique_ptr<Step> begun_by_layer(const at::RecordFunction& function, Following& state) {
  const auto call = watched_call(function);
  if (!call.has_value()) return nullptr;
  auto step = std::make_unique<Step>();
  if (state.depth == 0 && (call->op == "linear" || call->op.starts_with("conv"))) {
    const SetFollowing none(nullptr);  // what is told may run ops of its own
    state.close(/*all=*/false);
    for (const auto& weight : weights_of(*call, state.weights)) step->begun.push_back({weight, call->op, {}, false, {}});
  }
  return step;
}

std::unique_ptr<Step> passed_on(const at::RecordFunction& function, Following& state) {
  const bool norm = std::string_view(function.name()) == "aten::batch_norm";
  const auto inputs = function.inputs();
  if (state.depth > 0 || (!norm && !passes_on(function.name())) || inputs.size() < (norm ? 2u : 1u) || !inputs[0].isTensor()) return nullptr;
  const auto found = state.open.find(inputs[0].toTensor().unsafeGetTensorImpl());
  if (found == state.open.end()) return nullptr;
  auto step = std::make_unique<Step>();
  FollowedOutput& output = step->begun.emplace_back(std::move(found->second));
  state.open.erase(found);
  if (norm && !output.through_norm) {
    output.through_norm = true;
    if (inputs[1].isTensor()) output.scale = inputs[1].toTensor();
  }
  return step;
}

std::unique_ptr<at::ObserverContext> begin_step(const at::RecordFunction& function) {
  if (following == nullptr) return nullptr;
  auto step = begun_by_layer(function, *following);
  if (step == nullptr) step = passed_on(function, *following);
  if (step != nullptr) ++following->depth;
  return step;
}

void end_step(const at::RecordFunction& function, at::ObserverContext* context) {
  auto* step = dynamic_cast<Step*>(context);
  if (following == nullptr || step == nullptr) return;
  --following->depth;
  const auto outputs = function.outputs();
  if (outputs.empty() || !outputs[0].isTensor()) return;
  for (auto& output : step->begun) {
    output.output = outputs[0].toTensor();
    following->open.insert_or_assign(output.output.unsafeGetTensorImpl(), std::move(output));
  }
}

class StepCallback {
 public:
  StepCallback()
      : handle_(at::addThreadLocalCallback(
            at::RecordFunctionCallback(begin_step, end_step).needsInputs(true).needsOutputs(true).scopes({at::RecordScope::FUNCTION}))) {}
  ~StepCallback() { at::removeCallback(handle_); }
  StepCallback(const StepCallback&) = delete;
  StepCallback& operator=(const StepCallback&) = delete;

 private:
  at::CallbackHandle handle_;
};

}  // namespace

void follow(const std::function<void()>& run, const NamedWeights& weights, const std::function<void(const FollowedOutput&)>& seen) {
  const at::NoGradGuard no_grad;
  Following state{weights, seen};
  {
    const SetFollowing set(&state);
    const StepCallback callback;
    run();
  }
  state.close(/*all=*/true);
}

}  // namespace jouleprune::prune
