// The workload being written: what handlers of ops see of a call, and how they add entries.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <jouleprune/energy.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "record/record.h"
#include "record/weights.h"

namespace jouleprune::record {

/// One finished call of an op: positional arguments as in its schema.
struct Call {
  std::string_view op;  ///< "aten::conv2d"
  c10::ArrayRef<c10::IValue> inputs, outputs;

  /// Undefined when the argument is None. Throws std::logic_error when it is no tensor.
  at::Tensor tensor(size_t index) const;
  std::vector<at::Tensor> tensors(size_t index) const;
  int64_t integer(size_t index) const;
  bool boolean(size_t index) const;
  std::vector<int64_t> integers(size_t index) const;
  at::Tensor output() const;  ///< the first one
  std::vector<at::Tensor> all_inputs() const;  ///< those in lists too; no numbers wrapped as tensors
  std::vector<at::Tensor> all_outputs() const;
};

/// W[rows, cols] x X[cols, n], `groups` times.
struct Product {
  int64_t rows = 0, cols = 0, n = 0, groups = 1;
};

class Recording {
 public:
  Recording(NamedTensors weights, Options options);

  WeightTable& weights() { return weights_; }

  /// An entry of a product with a weight: sizes, MACs, names, zeros of the weight and, when asked for, of `input`
  /// (undefined: not seen, as inside an LSTM). The op's dtype is `output`'s where autocast changed it. Entry::weight
  /// stays empty for a part of a weight and for a weight without a name.
  Entry weighted(std::string op, const Product& product, const at::Tensor& weight, const at::Tensor& input,
                 const at::Tensor& output);
  /// An entry without MACs or weight that moves these tensors, each counted once.
  Entry traffic(std::string op, const std::vector<at::Tensor>& inputs, const std::vector<at::Tensor>& outputs);
  /// Share of elements that are not zero, or 1 when it is not asked for or cannot be known.
  double density(const at::Tensor& input) const;
  /// Gives an entry without a name "<op>_<k>", one without MACs the call that made it, and appends it.
  void add(Entry entry);
  /// The op whose entries follow, with its namespace: "aten::relu_".
  void see_call(std::string_view op);

  void add_unknown(const std::string& op);
  /// Dim 0 of the first input is the batch, unless the user gave it.
  void see_input(const at::Tensor& input);
  size_t events() const { return workload_.entries.size() + unknown_; }

  Workload finish();

 private:
  void name_by_weight(Entry& entry, const at::Tensor& weight);

  WeightTable weights_;
  Options options_;
  Workload workload_;
  std::string call_;
  std::map<std::string, int64_t> calls_;  ///< by op, of entries without a name of their own
  size_t unknown_ = 0;
  bool batch_known_ = false;
};

/// "float32", "bfloat16", "int8", ...
std::string dtype_name(c10::ScalarType type);

/// total / part, 0 when part is 0.
inline int64_t quotient(int64_t total, int64_t part) { return part == 0 ? 0 : total / part; }

/// Elements of all defined tensors, each tensor once.
int64_t elements(const std::vector<at::Tensor>& tensors);

}  // namespace jouleprune::record
