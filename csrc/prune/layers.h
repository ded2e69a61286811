// Where a weight sits in a module, and whether a sparse layer can take its layer's place.
#pragma once
#include <ATen/core/Tensor.h>
#include <jouleprune/nn.h>
#include <torch/nn/module.h>

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

/// Whether the module is of a class that a sparse one can replace, and `attribute` one of its weights.
bool holds_weight(const Place& place);

}  // namespace jouleprune::prune
