#include "prune/fuse.h"

#include <ATen/core/grad_mode.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/batchnorm.h>

#include <algorithm>

#include "prune/recording.h"
#include "prune/replace.h"
#include "prune/watch.h"

namespace jouleprune::prune {
namespace {

/// A batch norm is an affine map of each output channel once its statistics are frozen.
struct Norm {
  at::Tensor scale, shift;
};

template <typename Impl>
std::optional<Norm> norm_as(torch::nn::Module* module, int64_t rows) {
  auto* norm = exactly<Impl>(module);
  if (norm == nullptr || norm->is_training() || !norm->running_mean.defined() || norm->running_mean.numel() != rows) {
    return std::nullopt;
  }
  const at::NoGradGuard no_grad;
  auto scale = (norm->running_var.to(at::kDouble) + norm->options.eps()).rsqrt();
  if (norm->weight.defined()) scale = scale * norm->weight;
  auto shift = -norm->running_mean * scale;
  if (norm->bias.defined()) shift = shift + norm->bias;
  return Norm{scale, shift};
}

/// How the ops call an activation; empty when they have none like it.
std::string activation_of(torch::nn::Module* module) {
  if (exactly<torch::nn::ReLUImpl>(module)) return "relu";
  if (exactly<torch::nn::SiLUImpl>(module)) return "silu";
  auto* gelu = exactly<torch::nn::GELUImpl>(module);
  return gelu != nullptr && gelu->options.approximate() == "none" ? "gelu" : "";
}

/// A layer in layout csr or int8 that can take over what follows it: its rows, and how.
struct Layer {
  int64_t rows = 0;
  bool gives_bias = true;  // a layer without a bias can get one
  std::string* activation = nullptr;
  std::function<void(const Norm&)> fold;
};

template <typename Impl>
Layer layer_of(Impl& sparse, int64_t rows, bool switched) {
  return {rows, !switched || sparse.bias.defined(), &sparse.activation,
          [&sparse](const Norm& norm) { sparse.scale_rows(norm.scale, norm.shift); }};
}

std::optional<Layer> fusable(torch::nn::Module* module) {
  std::optional<Layer> layer;
  const auto linear = [&](nn::SparseLinearImpl* sparse, bool switched) {
    const bool fits = sparse != nullptr && (sparse->options.layout == "csr" || sparse->is_int8());
    if (fits) layer = layer_of(*sparse, sparse->options.out_features, switched);
  };
  if (auto* ours = exactly<nn::LinearImpl>(module)) {
    linear(ours->sparse().get(), true);
  } else if (auto* ours = exactly<nn::Conv2dImpl>(module); ours != nullptr && ours->is_sparse()) {
    layer = layer_of(*ours->sparse(), ours->options.out_channels(), true);
  } else if (auto* ours = exactly<nn::Conv1dImpl>(module); ours != nullptr && ours->is_sparse()) {
    layer = layer_of(*ours->sparse(), ours->sparse()->row_offsets.numel() - 1, true);
  } else if (auto* sparse = exactly<nn::SparseConv1dImpl>(module)) {
    layer = layer_of(*sparse, sparse->row_offsets.numel() - 1, false);
  } else if (auto* sparse = exactly<nn::SparseConv2dImpl>(module)) {
    layer = layer_of(*sparse, sparse->options.out_channels(), false);
  } else {
    linear(exactly<nn::SparseLinearImpl>(module), false);
  }
  return layer.has_value() && *layer->activation == "none" ? layer : std::nullopt;
}

std::optional<Norm> norm_of(torch::nn::Module* module, const Layer& layer) {
  if (!layer.gives_bias) return std::nullopt;
  auto norm = norm_as<torch::nn::BatchNorm1dImpl>(module, layer.rows);
  return norm.has_value() ? norm : norm_as<torch::nn::BatchNorm2dImpl>(module, layer.rows);
}

/// What follows `items[at]` goes into it; the sentence that tells, or nothing.
std::string fuse_item(const std::vector<Place>& items, size_t at) {
  auto layer = fusable(items[at].module);
  if (!layer.has_value()) return "";
  if (items[at].module->is_training()) return "; not fused: in training mode";
  std::string told;
  const auto take = [&](const Place& place) {
    std::string kind = place.module->name();
    kind = kind.substr(kind.rfind(':') == std::string::npos ? 0 : kind.rfind(':') + 1);
    if (kind.ends_with("Impl")) kind.resize(kind.size() - 4);
    told += (told.empty() ? "; fused " : " and ") + kind + " " + place.path;
    replace(place, torch::nn::Identity());
  };
  size_t next = at + 1;
  if (next < items.size()) {
    if (const auto norm = norm_of(items[next].module, *layer)) {
      layer->fold(*norm);
      take(items[next++]);
    }
  }
  if (next < items.size()) {
    if (const auto activation = activation_of(items[next].module); !activation.empty() && !items[next].module->is_training()) {
      *layer->activation = activation;
      take(items[next]);
    }
  }
  return told;
}

}  // namespace

std::set<std::string> batched_layers(torch::nn::Module& module, const Forward& forward, const std::vector<Candidate>& candidates) {
  const EvalMode eval_mode(module);
  NamedWeights weights;
  for (const auto& candidate : candidates) {
    if (candidate.decision.layout == "csr" || candidate.decision.kernel == "bsr-int8") weights.emplace_back(candidate.weight, candidate.parameter);
  }
  std::map<std::string, bool> batched;
  watch(forward.run, weights, [&](const std::string& weight, const WatchedCall& call) {
    const int64_t dims = call.op == "linear" ? 2 : call.op == "conv1d" ? 3 : 4;
    const auto known = batched.try_emplace(weight, true).first;
    known->second = known->second && call.input.dim() == dims;
  });
  std::set<std::string> layers;
  for (const auto& [weight, all] : batched) {
    if (all) layers.insert(layer_of(weight));
  }
  return layers;
}

std::map<std::string, std::string> fuse(torch::nn::Module& module, const std::set<std::string>& layers) {
  const auto places = modules_of(module);
  std::map<torch::nn::Module*, int> registered;
  std::map<torch::nn::Module*, std::vector<Place>> sequentials;
  for (const auto& place : places) {
    ++registered[place.module];
    if (exactly<torch::nn::SequentialImpl>(place.parent)) sequentials[place.parent].push_back(place);
  }
  std::map<std::string, std::string> told;
  for (const auto& [parent, items] : sequentials) {
    const auto once = [&](const Place& place) { return registered[place.module] == 1; };
    if (registered[parent] != 1 || !std::all_of(items.begin(), items.end(), once)) continue;
    for (size_t i = 0; i < items.size(); ++i) {
      if (!layers.contains(items[i].path)) continue;
      if (auto sentence = fuse_item(items, i); !sentence.empty()) told[items[i].path] = std::move(sentence);
    }
  }
  return told;
}

}  // namespace jouleprune::prune
