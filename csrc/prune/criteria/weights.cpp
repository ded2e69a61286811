// Criteria that look at weights alone: draws, norms of units, geometric median, scales of batch norms.
#include <ATen/ops/full_like.h>
#include <ATen/ops/stack.h>
#include <jouleprune/ops_criteria.h>
#include <jouleprune/value_errors.h>

#include "prune/criteria/context.h"
#include "prune/follow.h"
#include "prune/untouched.h"

namespace jouleprune::prune::criteria {

/// Uniform, one draw per unit of the pattern, of seed 0 as Python's.
Scores random(const Context& context) {
  Scores scores;
  for (size_t i = 0; i < context.weights.size(); ++i) {
    scores[context.weights[i]] = random_importance(context.weight(i), context.block(i), /*seed=*/0, /*stream=*/static_cast<int64_t>(i));
  }
  return scores;
}

/// Source: Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017; the mean over the unit is ours, so that sizes compare.
Scores norm(const Context& context, double p) {
  Scores scores;
  for (size_t i = 0; i < context.weights.size(); ++i) scores[context.weights[i]] = norm_importance(context.weight(i), context.block(i), p);
  return scores;
}

Scores fpgm(const Context& context) {
  Scores scores;
  for (size_t i = 0; i < context.weights.size(); ++i) scores[context.weights[i]] = fpgm_importance(context.weight(i));
  return scores;
}

/// |gamma| of the batch norm that a layer's output goes into; layers without one have the largest of all. Source: Liu et al., Network
/// Slimming, ICCV 2017.
Scores bn_scale(const Context& context) {
  std::map<std::string, at::Tensor> scales;
  {
    const Untouched untouched(context.module);
    follow(context.forward, context.named_weights(), [&](const FollowedOutput& seen) { scales[seen.weight] = seen.scale; });
  }
  std::vector<at::Tensor> largest;
  for (auto& [name, scale] : scales) {
    if (!scale.defined()) continue;
    scale = scale.detach().abs();
    largest.push_back(scale.max().cpu());
  }
  if (largest.empty()) throw PatternError("importance 'bn_scale': expected a batch norm after one of the layers, found none");
  const auto most = at::stack(largest).max().item<double>();
  Scores scores;
  for (size_t i = 0; i < context.weights.size(); ++i) {
    const auto& name = context.weights[i];
    const auto weight = context.weight(i);
    const auto scale = scales.find(name);
    scores[name] = scale != scales.end() && scale->second.defined() ? of_rows(weight, scale->second)
                                                                    : at::full_like(weight, most, weight.options().dtype(at::kFloat));
  }
  return scores;
}

}  // namespace jouleprune::prune::criteria
