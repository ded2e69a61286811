// Random paths: whole ways from inputs to outputs go, small weights likelier than large ones.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/block_diag.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/multinomial.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "prune/criteria/context.h"

namespace jouleprune::prune::criteria {
namespace {

constexpr int64_t kPaths = 1000;  // as many as Python draws by this name, and of its seed
constexpr uint64_t kPathSeed = 0;

struct Layer {
  std::string name;
  at::Tensor weight;
  int64_t groups = 1;
  int64_t inputs() const { return weight.size(1) * groups; }
};

/// Layers in the order of their first calls.
std::vector<Layer> layers_in_order(const Context& context) {
  std::vector<Layer> layers;
  for (const auto& entry : context.workload.entries) {
    const auto place = std::find(context.weights.begin(), context.weights.end(), entry.weight);
    const bool told = std::any_of(layers.begin(), layers.end(), [&](const Layer& layer) { return layer.name == entry.weight; });
    if (place == context.weights.end() || told) continue;
    const auto weight = context.weight(static_cast<size_t>(place - context.weights.begin()));
    layers.push_back({entry.weight, weight, entry.op == "linear" ? 1 : entry.groups});
  }
  return layers;
}

/// Layers that follow each other, each with as many inputs as the one before has outputs.
std::vector<std::vector<Layer>> chains_of(const std::vector<Layer>& layers) {
  std::vector<std::vector<Layer>> chains;
  for (const auto& layer : layers) {
    if (chains.empty() || chains.back().back().weight.size(0) != layer.inputs()) chains.emplace_back();
    chains.back().push_back(layer);
  }
  return chains;
}

/// float64 [outputs, inputs]: norm of what connects them, of a convolution the whole kernel; 0 between groups that do not.
at::Tensor between_channels(const Layer& layer) {
  const auto weight = layer.weight.to(at::kDouble).cpu();
  const auto norms = weight.dim() > 2 ? weight.flatten(2).norm(2, 2) : weight.abs();
  return layer.groups == 1 ? norms : at::block_diag(norms.chunk(layer.groups));
}

/// Of each layer of a chain, float64 [outputs, inputs]: number of the first path that takes the weight; kPaths where none does.
std::vector<at::Tensor> first_draws(const std::vector<at::Tensor>& weights, at::Generator generator) {
  std::vector<at::Tensor> inverse, first;
  for (const auto& weight : weights) {
    inverse.push_back(at::where(weight.gt(0), 1 / weight.clamp_min(1e-300), at::zeros_like(weight)));
    first.push_back(at::full_like(weight, static_cast<double>(kPaths)));
  }
  std::vector<at::Tensor> onward = {at::ones({inverse.back().size(0)}, at::kDouble)};  // all ways on from a unit, last layer first
  for (auto matrix = inverse.rbegin(); matrix != inverse.rend(); ++matrix) {
    const auto ways = onward.back().matmul(*matrix);
    onward.push_back(ways / ways.max().clamp_min(1e-300));
  }
  if (!(onward.back().sum().item<double>() > 0)) return first;  // nothing gets through
  auto units = at::multinomial(onward.back(), kPaths, /*replacement=*/true, generator);
  for (size_t i = 0; i < inverse.size(); ++i) {
    const auto& ways = onward[inverse.size() - 1 - i];
    const auto chosen = at::multinomial((inverse[i] * ways.unsqueeze(1)).t().index_select(0, units), 1, /*replacement=*/false, generator).squeeze(1);
    const auto places = chosen * inverse[i].size(1) + units;
    first[i].view(-1).scatter_reduce_(0, places, at::arange(kPaths, at::kDouble), "amin");
    units = chosen;
  }
  return first;
}

/// Scores [outputs, inputs] as those of the layer's weights.
at::Tensor of_weights(const Layer& layer, at::Tensor worth) {
  if (layer.groups > 1) {
    const int64_t rows = worth.size(0) / layer.groups, cols = worth.size(1) / layer.groups;
    std::vector<at::Tensor> parts;
    for (int64_t g = 0; g < layer.groups; ++g) parts.push_back(worth.narrow(0, g * rows, rows).narrow(1, g * cols, cols));
    worth = at::cat(parts);
  }
  std::vector<int64_t> sizes(static_cast<size_t>(layer.weight.dim()), 1);
  std::copy_n(layer.weight.sizes().begin(), 2, sizes.begin());
  return worth.to(layer.weight.device(), at::kFloat).reshape(sizes).expand_as(layer.weight);
}

}  // namespace

/// Paths drawn with a probability inverse to the product of |w| along them: the weights of the first path go first, those that no path
/// takes last. Zero weights are no part of a path and count as drawn before all others.
Scores random_path(const Context& context) {
  check_layers(context, "random_path");
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(kPathSeed);
  Scores scores;
  for (const auto& chain : chains_of(layers_in_order(context))) {
    std::vector<at::Tensor> weights;
    for (const auto& layer : chain) weights.push_back(between_channels(layer));
    const auto first = first_draws(weights, generator);
    for (size_t i = 0; i < chain.size(); ++i) {
      const auto worth = at::where(weights[i].eq(0), at::zeros_like(weights[i]), (first[i] + 1) / static_cast<double>(kPaths + 1));
      scores[chain[i].name] = of_weights(chain[i], worth);
    }
  }
  return scores;
}

}  // namespace jouleprune::prune::criteria
