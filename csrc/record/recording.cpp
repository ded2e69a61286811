#include "record/recording.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <stdexcept>
#include <utility>

#include "record/zeros.h"

namespace jouleprune::record {
namespace {

bool is_number(const at::Tensor& tensor) { return tensor.unsafeGetTensorImpl()->is_wrapped_number(); }

void collect(const c10::IValue& value, std::vector<at::Tensor>& into) {
  if (value.isTensor()) {
    if (value.toTensor().defined() && !is_number(value.toTensor())) into.push_back(value.toTensor());
  } else if (value.isTensorList() || value.isList()) {
    for (const c10::IValue& item : value.toListRef()) collect(item, into);
  } else if (value.isTuple()) {
    for (const c10::IValue& item : value.toTupleRef().elements()) collect(item, into);
  }
}

std::vector<at::Tensor> collect(c10::ArrayRef<c10::IValue> values) {
  std::vector<at::Tensor> tensors;
  for (const c10::IValue& value : values) collect(value, tensors);
  return tensors;
}

/// The first floating type: masks and indices go along with the numbers they act on.
c10::ScalarType traffic_type(const std::vector<at::Tensor>& inputs, const std::vector<at::Tensor>& outputs) {
  for (const auto* tensors : {&outputs, &inputs}) {
    for (const at::Tensor& tensor : *tensors) {
      if (tensor.defined() && tensor.is_floating_point()) return tensor.scalar_type();
    }
  }
  return !outputs.empty() ? outputs[0].scalar_type() : inputs.empty() ? c10::kFloat : inputs[0].scalar_type();
}

}  // namespace

at::Tensor Call::tensor(size_t index) const {
  if (index >= inputs.size() || inputs[index].isNone()) return {};
  if (!inputs[index].isTensor()) {
    throw std::logic_error("argument " + std::to_string(index) + ": expected a tensor, got " + inputs[index].tagKind());
  }
  return inputs[index].toTensor();
}

std::vector<at::Tensor> Call::tensors(size_t index) const { return collect(inputs.slice(index, 1)); }

int64_t Call::integer(size_t index) const { return inputs.at(index).toInt(); }

bool Call::boolean(size_t index) const { return inputs.at(index).toBool(); }

std::vector<int64_t> Call::integers(size_t index) const {
  if (index >= inputs.size() || inputs[index].isNone()) return {};
  if (inputs[index].isInt()) return {inputs[index].toInt()};
  return inputs[index].toIntVector();
}

at::Tensor Call::output() const {
  const std::vector<at::Tensor> all = all_outputs();
  if (all.empty()) throw std::logic_error("expected a tensor as output, got none");
  return all[0];
}

std::vector<at::Tensor> Call::all_inputs() const { return collect(inputs); }
std::vector<at::Tensor> Call::all_outputs() const { return collect(outputs); }

Recording::Recording(NamedTensors weights, Options options) : weights_(weights), options_(options) {
  workload_.batch = options.batch > 0 ? options.batch : 1;
  batch_known_ = options.batch > 0;
}

Entry Recording::weighted(std::string op, const Product& product, const at::Tensor& weight, const at::Tensor& input,
                          const at::Tensor& output) {
  Entry entry;
  entry.op = std::move(op);
  const at::Tensor& typed = output.is_floating_point() ? output : weight;
  entry.dtype = dtype_name(typed.scalar_type());
  entry.rows = product.rows;
  entry.cols = product.cols;
  entry.n = product.n;
  entry.groups = product.groups;
  entry.macs = product.rows * product.cols * product.n * product.groups;
  entry.weight_elements = weight.numel();
  entry.nnz = options_.count_zeros ? weights_.kept(weight) : weight.numel();
  entry.input_elements = input.defined() ? input.numel() : product.cols * product.n * product.groups;
  entry.output_elements = output.numel();
  entry.input_density = density(input);
  name_by_weight(entry, weight);
  return entry;
}

void Recording::name_by_weight(Entry& entry, const at::Tensor& weight) {
  entry.shape = weight.sizes().vec();
  const Weight* known = weights_.find(weight);
  if (!known) return;
  if (!known->name.empty()) entry.name = known->layer.empty() ? entry.op : known->layer;
  // A part of a weight (the queries' third of in_proj_weight) counts for its layer, but is no parameter by itself.
  if (weights_.is_part(weight)) return;
  entry.weight = known->name;
  if (known->numel == weight.numel()) entry.shape = known->sizes;  // the call may see a transposed or batched view
}

Entry Recording::traffic(std::string op, const std::vector<at::Tensor>& inputs,
                         const std::vector<at::Tensor>& outputs) {
  Entry entry;
  entry.op = std::move(op);
  entry.dtype = dtype_name(traffic_type(inputs, outputs));
  if (!outputs.empty()) entry.shape = outputs[0].sizes().vec();
  entry.input_elements = elements(inputs);
  entry.output_elements = elements(outputs);
  return entry;
}

double Recording::density(const at::Tensor& input) const {
  if (!options_.measure_activations || !input.defined() || input.numel() == 0 || !has_data(input)) return 1.0;
  return static_cast<double>(count_nonzero(input)) / static_cast<double>(input.numel());
}

void Recording::add(Entry entry) {
  if (entry.groups < 1) {  // an empty batch of products: one product used no times
    entry.groups = 1;
    entry.n = 0;
  }
  if (entry.name.empty()) entry.name = entry.op + "_" + std::to_string(calls_[entry.op]++);
  if (entry.macs == 0 && entry.call.empty()) entry.call = call_;
  workload_.entries.push_back(std::move(entry));
}

void Recording::see_call(std::string_view op) {
  if (const size_t colons = op.find("::"); colons != std::string_view::npos) op.remove_prefix(colons + 2);
  while (op.starts_with('_')) op.remove_prefix(1);  // torch's own forms of an op
  while (op.ends_with('_')) op.remove_suffix(1);    // in place
  call_ = op;
}

void Recording::add_unknown(const std::string& op) {
  ++unknown_;
  auto& ops = workload_.unknown_ops;
  if (std::find(ops.begin(), ops.end(), op) == ops.end()) ops.push_back(op);
}

void Recording::see_input(const at::Tensor& input) {
  if (batch_known_ || !input.defined() || input.dim() == 0) return;
  workload_.batch = input.size(0);
  batch_known_ = true;
}

Workload Recording::finish() {
  workload_.count = std::max<int64_t>(workload_.batch, 1);
  return std::move(workload_);
}

std::string dtype_name(c10::ScalarType type) {
  switch (type) {
    case c10::kFloat: return "float32";
    case c10::kDouble: return "float64";
    case c10::kHalf: return "float16";
    case c10::kBFloat16: return "bfloat16";
    case c10::kChar:
    case c10::kQInt8: return "int8";
    case c10::kByte:
    case c10::kQUInt8: return "uint8";
    case c10::kShort: return "int16";
    case c10::kInt: return "int32";
    case c10::kLong: return "int64";
    default: break;
  }
  std::string name = c10::toString(type);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name;
}

int64_t elements(const std::vector<at::Tensor>& tensors) {
  std::set<const c10::TensorImpl*> seen;
  int64_t total = 0;
  for (const at::Tensor& tensor : tensors) {
    if (tensor.defined() && seen.insert(tensor.unsafeGetTensorImpl()).second) total += tensor.numel();
  }
  return total;
}

}  // namespace jouleprune::record
