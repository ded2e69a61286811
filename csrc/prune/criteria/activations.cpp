// Criteria that look at activations, collected call by call in float64: no labels, and nothing is kept but sums.
#include <ATen/ops/zeros.h>
#include <jouleprune/ops_criteria.h>

#include <algorithm>

#include "prune/criteria/context.h"
#include "prune/follow.h"
#include "prune/untouched.h"

namespace jouleprune::prune::criteria {
namespace {

/// Of the inputs of a layer, [groups, features of a group] float64: the sum of x^2; how often x was not zero.
struct InputStatistics {
  at::Tensor square_sums, active;
  int64_t count = 0;  ///< values of each feature
};

std::map<std::string, InputStatistics> input_statistics(const Context& context, const std::string& criterion) {
  check_layers(context, criterion);
  std::map<std::string, InputStatistics> found;
  std::map<std::string, at::Tensor> weights;
  for (const auto& [name, weight] : context.named_weights()) weights[name] = weight;
  const auto gather = [&](const std::string& name, const WatchedCall& call) {
    const auto x = features(call.op, call.input.detach()).to(at::kDouble);
    const auto shape = std::vector<int64_t>{x.size(0) / std::max<int64_t>(weights.at(name).size(1), 1), -1};
    const auto squares = x.square().sum(1).view(shape), active = x.abs().gt(0).to(at::kDouble).sum(1).view(shape);
    auto& seen = found[name];
    seen.square_sums = seen.count == 0 ? squares : seen.square_sums + squares;
    seen.active = seen.count == 0 ? active : seen.active + active;
    seen.count += x.size(1);
  };
  {
    const Untouched untouched(context.module);
    watch(context.data, context.named_weights(), gather);
  }
  check_called(context, criterion, [&](size_t i) { return found[context.weights[i]].count > 0; });
  return found;
}

/// MACs that a weight causes in the recorded pass, per inference: all its calls together.
double macs_per_weight(const Context& context, const std::string& weight) {
  double macs = 0;
  for (const auto& entry : context.workload.entries) {
    if (entry.weight == weight) macs += static_cast<double>(entry.macs) / static_cast<double>(entry.weight_elements);
  }
  return macs / static_cast<double>(std::max<int64_t>(context.workload.batch, 1));
}

/// Mean of a function of each filter's activations, after the batch norm, activation and dropout that the layer's output goes through.
Scores mean_of_outputs(const Context& context, const std::string& criterion, const std::function<at::Tensor(const at::Tensor&)>& of) {
  check_layers(context, criterion);
  std::map<std::string, at::Tensor> sums;
  std::map<std::string, int64_t> counts;
  {
    const Untouched untouched(context.module);
    follow(context.data, context.named_weights(), [&](const FollowedOutput& seen) {
      const auto values = of(features(seen.op, seen.output.detach()).to(at::kDouble));
      auto& sum = sums[seen.weight];
      sum = sum.defined() ? sum + values.sum(1) : values.sum(1);
      counts[seen.weight] += values.size(1);
    });
  }
  check_called(context, criterion, [&](size_t i) { return counts[context.weights[i]] > 0; });
  Scores scores;
  for (size_t i = 0; i < context.weights.size(); ++i) {
    const auto& name = context.weights[i];
    scores[name] = of_rows(context.weight(i), sums[name] / counts[name]);
  }
  return scores;
}

}  // namespace

/// |w| times the root mean square of the input feature that it reads. Source: Sun et al., A Simple and Effective Pruning Approach for
/// Large Language Models, ICLR 2024, eq. 1; of convolutions the feature is the channel.
Scores wanda(const Context& context) {
  const auto found = input_statistics(context, "wanda");
  Scores scores;
  for (size_t i = 0; i < context.weights.size(); ++i) {
    const auto& seen = found.at(context.weights[i]);
    scores[context.weights[i]] = input_importance(context.weight(i), (seen.square_sums / seen.count).sqrt());
  }
  return scores;
}

/// E_c = |w| p c: p = share of the data for which the input is not 0, c = MACs that the connection causes per inference. High energies
/// first: the largest of the network less E_c.
Scores connection(const Context& context, bool low_first) {
  const auto found = input_statistics(context, low_first ? "connection_low" : "connection_high");
  Scores scores;
  double largest = 0;
  for (size_t i = 0; i < context.weights.size(); ++i) {
    const auto& name = context.weights[i];
    const auto& seen = found.at(name);
    auto& energies = scores[name] = input_importance(context.weight(i), seen.active / seen.count, macs_per_weight(context, name));
    if (energies.numel() > 0) largest = std::max(largest, energies.max().item<double>());
  }
  if (!low_first) {
    for (auto& [name, energies] : scores) energies = largest - energies;
  }
  return scores;
}

/// 1 - APoZ: the share of a filter's activations that are above zero. Source: Hu et al., Network Trimming, 2016, eq. 1.
Scores apoz(const Context& context) {
  return mean_of_outputs(context, "apoz", [](const at::Tensor& a) { return a.gt(0).to(at::kDouble); });
}

/// Source: Molchanov et al., Pruning Convolutional Neural Networks for Resource Efficient Inference, ICLR 2017.
Scores mean_activation(const Context& context) {
  return mean_of_outputs(context, "mean_activation", [](const at::Tensor& a) { return a.abs(); });
}

}  // namespace jouleprune::prune::criteria
