// Attention: Q K^T and P V are one entry, seen as [queries, features of q and v] x [.., keys] per head and batch: then
// rows x cols x n x groups are its MACs. Causal masks save nothing here: kernels differ in what they skip.
#include <utility>

#include "record/handlers.h"

namespace jouleprune::record {
namespace {

struct Heads {
  int64_t groups, queries, keys, qk_features, v_features;
};

void scores_and_values(const Heads& heads, const std::vector<at::Tensor>& inputs, const at::Tensor& output,
                       Recording& recording) {
  Entry entry = recording.traffic("attention", inputs, {output});
  entry.rows = heads.queries;
  entry.cols = heads.qk_features + heads.v_features;
  entry.n = heads.keys;
  entry.groups = heads.groups;
  entry.macs = entry.rows * entry.cols * entry.n * entry.groups;
  entry.ops = kSoftmaxOps * heads.queries * heads.keys * heads.groups;
  recording.add(std::move(entry));
}

/// Input projections, attention, output projection, on [batch, length, features].
void fused(const Call& call, Recording& recording, size_t weights_at, int64_t heads, const at::Tensor& query,
           const at::Tensor& key, const at::Tensor& value, const at::Tensor& output) {
  const at::Tensor in_weight = call.tensor(weights_at), out_weight = call.tensor(weights_at + 2);
  const int64_t features = in_weight.size(1), batch = query.size(0), length = query.size(1), keys = key.size(1);
  const auto project = [&](const at::Tensor& weight, const at::Tensor& input, const at::Tensor& result) {
    const int64_t n = quotient(input.numel(), weight.size(1));
    Entry entry = recording.weighted("linear", {weight.size(0), weight.size(1), n, 1}, weight, input, result);
    entry.output_elements = weight.size(0) * n;
    return entry;
  };
  if (query.is_same(key) && key.is_same(value)) {
    recording.add(project(in_weight, query, output));
  } else {  // three products with a third of the weight each
    for (const at::Tensor* input : {&query, &key, &value}) {
      Entry entry = project(in_weight, *input, output);
      entry.weight.clear();
      entry.rows /= 3;
      entry.macs /= 3;
      entry.weight_elements /= 3;
      entry.nnz /= 3;
      entry.output_elements /= 3;
      recording.add(std::move(entry));
    }
  }
  const int64_t per_head = quotient(features, heads);
  scores_and_values({batch * heads, length, keys, per_head, per_head}, {query, key, value}, output, recording);
  recording.add(project(out_weight, output, output));
}

}  // namespace

void attention(const Call& call, Recording& recording) {
  const at::Tensor query = call.tensor(0), key = call.tensor(1), value = call.tensor(2);
  Heads heads{0, query.size(-2), key.size(-2), query.size(-1), value.size(-1)};
  heads.groups = 1;
  for (int64_t dim = 0; dim + 2 < query.dim(); ++dim) heads.groups *= query.size(dim);
  scores_and_values(heads, {query, key, value}, call.output(), recording);
}

void multi_head_attention(const Call& call, Recording& recording) {
  fused(call, recording, 5, call.integer(4), call.tensor(0), call.tensor(1), call.tensor(2), call.output());
}

void encoder_layer(const Call& call, Recording& recording) {
  const at::Tensor input = call.tensor(0), output = call.output();
  fused(call, recording, 3, call.integer(2), input, input, input, output);
  elementwise_of(recording, {input, output}, output);
  norm_of(recording, input, call.tensor(10), call.tensor(11), output);
  const at::Tensor up = call.tensor(14), down = call.tensor(16);
  const int64_t n = quotient(input.numel(), up.size(1)), hidden = up.size(0) * n;
  Entry entry = recording.weighted("linear", {up.size(0), up.size(1), n, 1}, up, input, output);
  entry.ops = hidden;  // ReLU or GELU, fused
  entry.output_elements = hidden;
  recording.add(std::move(entry));
  entry = recording.weighted("linear", {down.size(0), down.size(1), n, 1}, down, {}, output);
  entry.input_elements = hidden;
  recording.add(std::move(entry));
  elementwise_of(recording, {input, output}, output);
  norm_of(recording, input, call.tensor(12), call.tensor(13), output);
}

}  // namespace jouleprune::record
