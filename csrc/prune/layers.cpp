#include "prune/layers.h"

#include <jouleprune/nn_attention.h>
#include <torch/nn/modules/container/moduledict.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/container/sequential.h>

#include <algorithm>
#include <array>

#include "nn/csr_weight.h"
#include "prune/units.h"

namespace jouleprune::prune {
namespace {

void walk(torch::nn::Module& module, const Place& place, std::vector<Place>& places) {
  places.push_back(place);
  for (const auto& child : module.named_children()) {
    const auto path = place.path.empty() ? child.key() : place.path + "." + child.key();
    walk(*child.value(), {path, child.value().get(), &module, child.key(), ""}, places);
  }
}

bool in_list(const Place& place) {
  return dynamic_cast<torch::nn::ModuleListImpl*>(place.parent) != nullptr ||
         dynamic_cast<torch::nn::ModuleDictImpl*>(place.parent) != nullptr;
}

/// What ours is called that has the module's interface.
std::string own_name(torch::nn::Module* module) {
  if (exactly<torch::nn::LinearImpl>(module)) return "Linear";
  if (exactly<torch::nn::Conv1dImpl>(module)) return "Conv1d";
  if (exactly<torch::nn::Conv2dImpl>(module)) return "Conv2d";
  if (exactly<torch::nn::LSTMImpl>(module)) return "LSTM";
  return exactly<torch::nn::GRUImpl>(module) ? "GRU" : "MultiheadAttention";
}

std::string why_not_replaceable(const Place& place, bool replace_in_lists) {
  const std::string ours = "declare it as jouleprune::nn::" + own_name(place.module);
  if (place.parent == nullptr) {
    return "the module itself is the layer; put it into a Sequential to have it replaced";
  }
  if (dynamic_cast<torch::nn::SequentialImpl*>(place.parent) != nullptr) {
    return "";
  }
  if (in_list(place)) {
    return replace_in_lists ? ""
                            : "an item of a ModuleList or ModuleDict is reached by its type; " + ours + ", or pass replace_in_lists = true";
  }
  return "a typed member of torch::nn type cannot be replaced; " + ours;
}

/// Why a convolution has no sparse kernel; empty for what has one, and for other layers.
std::string conv_obstacle(const Unit& unit) {
  const auto layer = view_layer(unit);
  return layer.conv.has_value() ? nn::conv_obstacle(*layer.conv) : "";
}

}  // namespace

std::vector<Place> modules_of(torch::nn::Module& root) {
  std::vector<Place> places;
  walk(root, {"", &root, nullptr, "", ""}, places);
  return places;
}

std::vector<Place> places_of(torch::nn::Module& root, const at::Tensor& parameter) {
  std::vector<Place> found;
  for (auto& place : modules_of(root)) {
    for (const auto& candidate : place.module->named_parameters(/*recurse=*/false)) {
      if (candidate.value().is_same(parameter)) {
        place.attribute = candidate.key();
        found.push_back(place);
      }
    }
  }
  return found;
}

std::string layer_of(const std::string& weight) {
  const std::string suffix = ".weight";
  return weight.ends_with(suffix) ? weight.substr(0, weight.size() - suffix.size()) : weight;
}

bool holds_weight(const Place& place) {
  if (place.attribute == "weight") {
    return exactly<torch::nn::LinearImpl>(place.module) || exactly<torch::nn::Conv2dImpl>(place.module) ||
           exactly<torch::nn::Conv1dImpl>(place.module) || switches(place);
  }
  if (is_dense_attention(place.module)) {
    return place.attribute.ends_with("proj_weight");
  }
  torch::nn::Module* dense = dense_of(place.module);
  return (exactly<torch::nn::LSTMImpl>(dense) || exactly<torch::nn::GRUImpl>(dense)) && place.attribute.starts_with("weight_");
}

std::string obstacle(torch::nn::Module& root, const at::Tensor& parameter, bool replace_in_lists) {
  const auto places = places_of(root, parameter);
  if (places.size() != 1) {
    std::string names;
    for (const auto& place : places) {
      names += (names.empty() ? "" : ", ") + (place.path.empty() ? std::string("the root") : place.path);
    }
    return places.empty() ? "no parameter of the module" : "shared by " + names;
  }
  const auto& place = places.front();
  if (!holds_weight(place)) {
    return "held by " + place.module->name() + "." + place.attribute + ", for which there is no sparse module";
  }
  static constexpr std::array kDtypes = {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf};
  if (std::find(kDtypes.begin(), kDtypes.end(), parameter.scalar_type()) == kDtypes.end()) {
    return std::string(c10::toString(parameter.scalar_type())) + " has no sparse kernel";
  }
  const Unit unit = unit_of(root, place);
  if (const auto unfit = conv_obstacle(unit); !unfit.empty()) {
    return unfit;
  }
  return switches(unit.place) ? "" : why_not_replaceable(unit.place, replace_in_lists);
}

}  // namespace jouleprune::prune
