// The callback: follows ops as they start and end, and decides which of them make entries.
#include "record/record.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/enum_tag.h>
#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "record/handlers.h"
#include "record/ops_table.h"
#include "record/recording.h"

namespace jouleprune::record {
namespace {

enum class Kind {
  kPriced,     ///< a rule prices it; what it calls inside is its own business
  kComposite,  ///< made of other ops by torch: those are seen instead
  kForeign,    ///< an op with a kernel of its own that may call other ops: unknown unless they can be priced
  kIgnored,    ///< no operator (a Python autograd function, a marker), or ours
  kUnknown,
};

struct Judgement {
  Kind kind = Kind::kUnknown;
  OpRule rule;
};

/// State of a thread between begin and end.
struct Active {
  Active(NamedTensors weights, Options options) : recording(std::move(weights), options) {}

  Recording recording;
  std::unordered_map<std::string, Judgement> judged;  ///< by name and overload
  at::CallbackHandle callback = at::INVALID_CALLBACK_HANDLE;
  uint64_t id = 0;
  int inside = 0;                   ///< how many priced or unknown ops we are in
  std::vector<std::string> around;  ///< composite and foreign ops we are in, outermost first
  size_t seen = 0;                  ///< ops started outside priced and unknown ones
  std::string error;                ///< first exception of a callback
};

thread_local std::unique_ptr<Active> active;

/// What the start of an op tells its end.
struct Frame : at::ObserverContext {
  uint64_t recording = 0;
  std::string op;
  Judgement judged;
  bool outermost = false;
  bool enters = false;       ///< counted in Active::inside
  bool surrounds = false;    ///< pushed on Active::around
  const Weight* prepared = nullptr;
  std::vector<c10::IValue> inputs;
  size_t seen = 0, events = 0;  ///< at the start
};

/// The op's own values: a call from TorchScript shows the interpreter's whole stack, its own values last.
c10::ArrayRef<c10::IValue> own(c10::ArrayRef<c10::IValue> values, size_t count) {
  return count < values.size() ? values.slice(values.size() - count) : values;
}

bool is_view(const c10::FunctionSchema& schema) {
  for (const c10::Argument& result : schema.returns()) {
    const c10::AliasInfo* alias = result.alias_info();
    if (alias && !alias->isWrite()) return true;
  }
  return false;
}

bool has_tensor(const std::vector<c10::Argument>& arguments) {
  for (const c10::Argument& argument : arguments) {
    c10::TypePtr type = argument.real_type();
    while (!type->containedTypes().empty()) type = type->containedType(0);
    if (type->kind() == c10::TypeKind::TensorType) return true;
  }
  return false;
}

Judgement judge(std::string_view op, const std::optional<c10::OperatorName>& name) {
  if (!name || op.starts_with("jouleprune::record_") || op.starts_with("profiler::")) return {Kind::kIgnored, {}};
  if (const OpRule* rule = find_rule(op)) return {Kind::kPriced, *rule};
  const auto handle = c10::Dispatcher::singleton().findSchema(*name);
  if (!handle) return {Kind::kIgnored, {}};
  const c10::FunctionSchema& schema = handle->schema();
  if (!has_tensor(schema.arguments()) || !has_tensor(schema.returns())) return {Kind::kPriced, {free_of_charge}};
  if (is_view(schema)) return {Kind::kPriced, {view_or_copy}};
  // max and min are tagged for their form with two tensors, and are reductions otherwise.
  if (op == "aten::max" || op == "aten::min") {
    return {Kind::kPriced, {name->overload_name == "other" ? elementwise : reduce}};
  }
  if (handle->hasTag(at::Tag::pointwise)) return {Kind::kPriced, {elementwise}};
  if (handle->hasKernelForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd)) return {Kind::kComposite, {}};
  if (!op.starts_with("aten::")) return {Kind::kForeign, {}};
  if (handle->hasKernelForDispatchKey(c10::DispatchKey::CompositeExplicitAutograd)) return {Kind::kForeign, {}};
  return {Kind::kUnknown, {}};
}

/// The weight an op prepares, or null: all its tensors are weights, and the largest of them gives the name.
const Weight* prepared_weight(Active& state, const Judgement& judged, const Call& call) {
  if (judged.kind == Kind::kIgnored || judged.rule.is_layer) return nullptr;
  const Weight* largest = nullptr;
  for (const at::Tensor& tensor : call.all_inputs()) {
    const Weight* weight = state.recording.weights().find(tensor);
    if (!weight) return nullptr;
    if (!largest || weight->numel > largest->numel) largest = weight;
  }
  return largest;
}

/// torch::nn::Linear is a product with weight.t(): without names, that is what tells the parameter from an activation.
void see_unnamed_weight(Active& state, const at::Tensor& tensor) {
  WeightTable& weights = state.recording.weights();
  const bool parameter = tensor.dim() == 2 && tensor.is_leaf() && tensor.requires_grad();
  if (parameter && !weights.find(tensor)) weights.add_unnamed(tensor);
}

void start(Active& state, Frame& frame, const at::RecordFunction& function) {
  const std::optional<c10::OperatorName> name = function.operator_name();
  std::string key = frame.op;
  if (name) key += "." + name->overload_name;
  auto [found, fresh] = state.judged.try_emplace(std::move(key));
  if (fresh) found->second = judge(frame.op, name);
  frame.judged = found->second;

  const Call call{frame.op, own(function.inputs(), function.num_inputs()), {}};
  if (frame.op == "aten::t") see_unnamed_weight(state, call.tensor(0));
  frame.prepared = prepared_weight(state, frame.judged, call);
  if (state.inside > 0) return;  // still worth a frame: a cast of a weight inside an op may be used by the next
  frame.outermost = true;
  frame.seen = ++state.seen;
  frame.events = state.recording.events();
  const Kind kind = frame.judged.kind;
  if (kind == Kind::kIgnored) return;
  const bool closed = frame.prepared || kind == Kind::kPriced || kind == Kind::kUnknown;
  if (!closed) {
    frame.surrounds = true;
    state.around.push_back(frame.op);
    return;
  }
  frame.enters = true;
  ++state.inside;
  if (frame.prepared) return;
  frame.inputs.assign(call.inputs.begin(), call.inputs.end());
  const std::vector<at::Tensor> inputs = Call{frame.op, call.inputs.slice(frame.judged.rule.input), {}}.all_inputs();
  for (const at::Tensor& input : inputs) {
    if (!state.recording.weights().find(input)) {
      state.recording.see_input(input);
      break;
    }
  }
}

void finish(Active& state, const Frame& frame, const at::RecordFunction& function) {
  if (function.outputs().size() < function.num_outputs()) return;  // the op threw
  const Call call{frame.op, frame.inputs, own(function.outputs(), function.num_outputs())};
  WeightTable& weights = state.recording.weights();
  if (frame.prepared) {
    for (const at::Tensor& output : call.all_outputs()) weights.alias(output, frame.prepared);
    return;
  }
  if (!frame.outermost) return;
  switch (frame.judged.kind) {
    case Kind::kIgnored: return;
    case Kind::kPriced:
      state.recording.see_call(frame.op);
      frame.judged.rule.handler(call, state.recording);
      break;
    case Kind::kUnknown: state.recording.add_unknown(state.around.empty() ? frame.op : state.around.front()); break;
    case Kind::kComposite:  // a composite that calls nothing computes by itself
      if (state.seen == frame.seen) state.recording.add_unknown(state.around.empty() ? frame.op : state.around.front());
      return;
    case Kind::kForeign:
      if (state.recording.events() == frame.events) {
        state.recording.add_unknown(state.around.empty() ? frame.op : state.around.front());
      }
      return;
  }
  // An activation was written into a buffer (a cache): what is read from it later is an activation.
  if (frame.op.ends_with('_') && !frame.inputs.empty() && frame.inputs[0].isTensor()) {
    const at::Tensor written = call.tensor(0);
    if (weights.find(written)) weights.forget(written);
  }
}

/// Runs `body`; its exception is kept for end(), because torch would only print it.
template <typename Body>
void guarded(Active& state, std::string_view op, const Body& body) {
  try {
    body();
  } catch (const c10::Error& error) {
    if (state.error.empty()) state.error = "record: " + std::string(op) + ": " + error.what_without_backtrace();
  } catch (const std::exception& error) {
    if (state.error.empty()) state.error = "record: " + std::string(op) + ": " + error.what();
  }
}

std::unique_ptr<at::ObserverContext> on_start(const at::RecordFunction& function) {
  if (!active) return nullptr;  // another thread of the same program, which inherited the callback
  auto frame = std::make_unique<Frame>();
  frame->recording = active->id;
  frame->op = function.name();
  guarded(*active, frame->op, [&] { start(*active, *frame, function); });
  return frame;
}

void on_end(const at::RecordFunction& function, at::ObserverContext* context) {
  const auto* frame = static_cast<Frame*>(context);
  if (!active || !frame || frame->recording != active->id) return;
  if (frame->enters) --active->inside;
  if (frame->surrounds) active->around.pop_back();
  guarded(*active, frame->op, [&] { finish(*active, *frame, function); });
}

std::unique_ptr<Active> stop() {
  at::removeCallback(active->callback);
  return std::move(active);
}

}  // namespace

void begin(NamedTensors weights, Options options) {
  if (active) throw std::logic_error("record: begin: this thread is recording already; call end first");
  static thread_local uint64_t recordings = 0;
  auto fresh = std::make_unique<Active>(std::move(weights), options);
  fresh->id = ++recordings;
  fresh->callback = at::addThreadLocalCallback(at::RecordFunctionCallback(on_start, on_end)
                                                   .needsInputs(true)
                                                   .needsOutputs(true)
                                                   .scopes({at::RecordScope::FUNCTION}));
  active = std::move(fresh);
}

Workload end() {
  if (!active) throw std::logic_error("record: end: this thread is not recording; call begin first");
  const std::unique_ptr<Active> done = stop();
  if (!done->error.empty()) throw std::runtime_error(done->error);
  return done->recording.finish();
}

Workload run(const std::function<void()>& run, NamedTensors weights, Options options) {
  const at::NoGradGuard no_grad;
  begin(std::move(weights), options);
  try {
    run();
  } catch (...) {
    if (active) stop();
    throw;
  }
  return end();
}

}  // namespace jouleprune::record
