// Ops without MACs: what they compute per element, and what they read and write.
#include <utility>

#include "record/handlers.h"

namespace jouleprune::record {
namespace {

// Operations per element that are no MACs.
constexpr int64_t kBatchNormOps = 2;  // scale, shift: the statistics are known
constexpr int64_t kNormOps = 4;       // sum, sum of squares, scale, shift

bool share_memory(const at::Tensor& a, const at::Tensor& b) {
  if (a.is_same(b)) return true;
  const auto *left = a.unsafeGetTensorImpl(), *right = b.unsafeGetTensorImpl();
  // A tensor without a storage (sparse, nested) is a view when its op says so.
  if (!left->has_storage() || !right->has_storage()) return true;
  return left->unsafe_storage().unsafeGetStorageImpl() == right->unsafe_storage().unsafeGetStorageImpl();
}

void add(const Call& call, Recording& recording, const char* op, int64_t ops) {
  Entry entry = recording.traffic(op, call.all_inputs(), call.all_outputs());
  entry.ops = ops;
  recording.add(std::move(entry));
}

/// Names a norm after its weight when it has one; the few weights travel with the input.
void add_norm(Recording& recording, const std::vector<at::Tensor>& inputs, const at::Tensor& weight,
              const at::Tensor& output, int64_t ops_per_element) {
  Entry entry = recording.traffic("norm", inputs, {output});
  entry.ops = ops_per_element * output.numel();
  if (const Weight* known = recording.weights().find(weight); known && !known->layer.empty()) entry.name = known->layer;
  recording.add(std::move(entry));
}

}  // namespace

void elementwise(const Call& call, Recording& recording) {
  add(call, recording, "elementwise", elements(call.all_outputs()));
}

void elementwise_of(Recording& recording, const std::vector<at::Tensor>& inputs, const at::Tensor& output) {
  Entry entry = recording.traffic("elementwise", inputs, {output});
  entry.ops = output.numel();
  recording.add(std::move(entry));
}

void dropout(const Call& call, Recording& recording) {
  // native_dropout's flag is optional: None means training.
  if (call.inputs.at(2).isNone() || call.boolean(2)) elementwise(call, recording);
}

void norm(const Call& call, Recording& recording) {
  const std::vector<at::Tensor> inputs = call.all_inputs();
  // Weight and bias are the tensors after the input, whatever else stands between them in the schema.
  const at::Tensor weight = inputs.size() > 1 ? inputs[1] : at::Tensor();
  const bool batch_norm = call.op.find("batch_norm") != std::string_view::npos;
  add_norm(recording, inputs, weight, call.output(), batch_norm ? kBatchNormOps : kNormOps);
}

void norm_of(Recording& recording, const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
             const at::Tensor& output) {
  add_norm(recording, {input, weight, bias}, weight, output, kNormOps);
}

void softmax(const Call& call, Recording& recording) {
  add(call, recording, "softmax", kSoftmaxOps * call.output().numel());
}

void pool(const Call& call, Recording& recording) {
  const at::Tensor input = call.tensor(0), output = call.output();
  const bool adaptive = call.op.find("adaptive") != std::string_view::npos;
  int64_t ops = input.numel();  // each element falls into one window
  if (!adaptive) {
    // A single kernel size stands for all dimensions: "2d" in the name tells how many.
    const std::vector<int64_t> kernel = call.integers(1);
    const auto named = [&](std::string_view part) { return call.op.find(part) != std::string_view::npos; };
    const int64_t dims = named("3d") ? 3 : named("2d") ? 2 : 1;
    int64_t taps = 1;
    for (int64_t dim = 0; dim < dims; ++dim) taps *= kernel.size() > 1 ? kernel.at(dim) : kernel.at(0);
    ops = output.numel() * taps;
  }
  Entry entry = recording.traffic("pool", {input}, {output});
  entry.ops = ops;
  recording.add(std::move(entry));
}

void reduce(const Call& call, Recording& recording) { add(call, recording, "reduce", elements(call.all_inputs())); }

void copy(const Call& call, Recording& recording) { add(call, recording, "copy", 0); }

void gather(const Call& call, Recording& recording) {
  Entry entry = recording.traffic("copy", call.all_inputs(), call.all_outputs());
  entry.input_elements = entry.output_elements;
  recording.add(std::move(entry));
}

void scatter(const Call& call, Recording& recording) {
  std::vector<at::Tensor> inputs = call.all_inputs();
  const bool in_place = !inputs.empty() && inputs[0].is_same(call.output());
  if (in_place) inputs.erase(inputs.begin());
  Entry entry = recording.traffic("copy", inputs, call.all_outputs());
  if (in_place) entry.output_elements = entry.input_elements;
  recording.add(std::move(entry));
}

void view_or_copy(const Call& call, Recording& recording) {
  const std::vector<at::Tensor> inputs = call.all_inputs(), outputs = call.all_outputs();
  if (inputs.empty() || outputs.empty() || share_memory(inputs[0], outputs[0])) return;
  recording.add(recording.traffic("copy", {inputs[0]}, outputs));
}

void free_of_charge(const Call&, Recording&) {}

}  // namespace jouleprune::record
