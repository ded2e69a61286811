// What a criterion may look at: the module, the weights to score, and callables that run it over calibration data.
#pragma once
#include <ATen/core/Tensor.h>
#include <jouleprune/prune.h>
#include <torch/nn/module.h>

#include <array>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "prune/watch.h"

namespace jouleprune::prune::criteria {

/// Scores by weight name: of the weight's sizes, finite, at least 0, higher = keep.
using Scores = std::map<std::string, at::Tensor>;

struct Context {
  torch::nn::Module& module;
  std::vector<std::string> weights;   ///< to score, in the order of the plan
  std::vector<std::string> patterns;  ///< that each is pruned in; "auto": not decided yet
  const Workload& workload;           ///< the recorded forward pass
  const std::function<void()>& forward, &data;
  const Loss& loss;
  const std::vector<Loss>& losses;

  /// The weight without its history. Throws c10::ValueError when the module has none of that name any more.
  at::Tensor weight(size_t i) const;
  /// The parameter itself, with its grad.
  at::Tensor parameter(size_t i) const;
  NamedWeights named_weights() const;
  /// (r, c) of the units of its pattern; a single weight where units are single weights, or not decided yet.
  std::array<int64_t, 2> block(size_t i) const;
};

/// Scores [rows] of filters -> scores of their weights.
at::Tensor of_rows(const at::Tensor& weight, const at::Tensor& rows);

/// Refuses weights of other layers than Linear, Conv1d and Conv2d.
void check_layers(const Context& context, const std::string& criterion);
/// Refuses weights that no call was seen of: `seen` says whether there was one.
void check_called(const Context& context, const std::string& criterion, const std::function<bool(size_t)>& seen);

/// [features, values] of an input or output: a feature is one of a Linear, or a channel of a convolution at all its pixels.
at::Tensor features(const std::string& op, const at::Tensor& x);

// Criteria of weights alone (weights.cpp, paths.cpp), of activations (activations.cpp), of gradients of a loss (gradients.cpp).
Scores random(const Context& context);
Scores norm(const Context& context, double p);
Scores fpgm(const Context& context);
Scores bn_scale(const Context& context);
Scores random_path(const Context& context);

Scores wanda(const Context& context);
Scores connection(const Context& context, bool low_first);
Scores apoz(const Context& context);
Scores mean_activation(const Context& context);

Scores gradient(const Context& context, bool times_weight);
Scores fisher(const Context& context);
Scores movement(const Context& context);
Scores t_score(const Context& context);
Scores f_score(const Context& context);
Scores multi_task(const Context& context);

}  // namespace jouleprune::prune::criteria
