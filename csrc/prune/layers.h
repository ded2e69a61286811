// Where a weight sits in a module, and whether a sparse layer can take its layer's place.
#pragma once
#include <ATen/core/Tensor.h>
#include <jouleprune/nn.h>
#include <torch/nn/module.h>

#include <optional>
#include <string>
#include <vector>

namespace jouleprune::prune {

/// One module under which a parameter is registered.
struct Place {
  std::string path;             // "" for the root
  torch::nn::Module* module;
  torch::nn::Module* parent;    // nullptr for the root
  std::string child;            // name under which the parent registered the module
  std::string attribute;        // name under which the module registered the parameter
};

/// Every module of the tree, root first.
std::vector<Place> modules_of(torch::nn::Module& root);

/// Every place of a parameter: several when it is tied or its module is registered twice.
std::vector<Place> places_of(torch::nn::Module& root, const at::Tensor& parameter);

/// "fc1.weight" -> "fc1"
std::string layer_of(const std::string& weight);

/// Empty when the layer that holds the parameter can run sparse after convert(), else one sentence.
std::string obstacle(torch::nn::Module& root, const at::Tensor& parameter, bool replace_in_lists);

/// Whether the module is a Linear or Conv2d, torch's or ours, and `attribute` its weight.
bool holds_weight(const Place& place);

/// What a race needs to know about a layer.
struct LayerView {
  std::string op;  // "linear", "conv2d"
  at::Tensor weight, bias;
  std::optional<torch::nn::detail::ConvNdOptions<2>> conv;
};
LayerView view_layer(const Place& place);

/// Makes the layer run sparse: switches ours, replaces torch's in its container. The place must have no obstacle.
void run_sparse(const Place& place, const std::optional<at::Tensor>& mask);

}  // namespace jouleprune::prune
