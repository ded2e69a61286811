#include "prune/layers.h"

#include <c10/util/Exception.h>
#include <torch/nn/modules/container/any.h>
#include <torch/nn/modules/container/moduledict.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/container/sequential.h>

#include <typeinfo>

#include "nn/csr_weight.h"

namespace jouleprune::prune {
namespace {

template <typename Impl>
Impl* exactly(torch::nn::Module* module) {
  // A class derived from torch::nn::LinearImpl may compute anything in its forward: only the class itself is a Linear.
  return typeid(*module) == typeid(Impl) ? static_cast<Impl*>(module) : nullptr;
}

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

std::string why_not_replaceable(const Place& place, bool replace_in_lists) {
  const std::string ours = exactly<torch::nn::LinearImpl>(place.module) ? "jouleprune::nn::Linear" : "jouleprune::nn::Conv2d";
  if (place.parent == nullptr) {
    return "the module itself is the layer; put it into a Sequential to have it replaced";
  }
  if (dynamic_cast<torch::nn::SequentialImpl*>(place.parent) != nullptr) {
    return "";
  }
  if (in_list(place)) {
    return replace_in_lists ? ""
                            : "an item of a ModuleList or ModuleDict is reached by its type; declare it as " + ours +
                                  ", or pass replace_in_lists = true";
  }
  return "a typed member of torch::nn type cannot be replaced; declare it as " + ours;
}

/// Puts `made` where the place's module is: in the container's own list and among its children.
template <typename Holder>
void replace(const Place& place, const Holder& made) {
  if (auto* sequential = dynamic_cast<torch::nn::SequentialImpl*>(place.parent)) {
    for (auto& item : *sequential) {
      if (item.ptr().get() == place.module) {
        item = torch::nn::AnyModule(made);
        break;
      }
    }
  } else if (auto* list = dynamic_cast<torch::nn::ModuleListImpl*>(place.parent)) {
    for (auto& item : *list) {
      if (item.get() == place.module) {
        item = made.ptr();
        break;
      }
    }
  } else if (auto* dict = dynamic_cast<torch::nn::ModuleDictImpl*>(place.parent)) {
    for (auto& item : *dict) {
      if (item.value().get() == place.module) {
        item.value() = made.ptr();
        break;
      }
    }
  } else {
    TORCH_INTERNAL_ASSERT(false, "no container holds ", place.path);
  }
  place.parent->replace_module(place.child, made);  // last: it ends the life of the old module
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
  return place.attribute == "weight" &&
         (exactly<torch::nn::LinearImpl>(place.module) || exactly<torch::nn::Conv2dImpl>(place.module) ||
          exactly<nn::LinearImpl>(place.module) || exactly<nn::Conv2dImpl>(place.module));
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
    return "held by " + place.module->name() + "." + place.attribute + ", not by a plain Linear or Conv2d";
  }
  const auto layer = view_layer(place);
  if (layer.conv.has_value()) {
    const auto unfit = nn::conv_obstacle(*layer.conv);
    if (!unfit.empty()) {
      return unfit;
    }
  }
  const bool ours = exactly<nn::LinearImpl>(place.module) || exactly<nn::Conv2dImpl>(place.module);
  return ours ? "" : why_not_replaceable(place, replace_in_lists);
}

LayerView view_layer(const Place& place) {
  if (auto* linear = exactly<torch::nn::LinearImpl>(place.module)) {
    return {"linear", linear->weight, linear->bias, std::nullopt};
  }
  if (auto* linear = exactly<nn::LinearImpl>(place.module)) {
    return {"linear", linear->weight, linear->bias, std::nullopt};
  }
  if (auto* conv = exactly<torch::nn::Conv2dImpl>(place.module)) {
    return {"conv2d", conv->weight, conv->bias, conv->options};
  }
  auto* conv = exactly<nn::Conv2dImpl>(place.module);
  TORCH_INTERNAL_ASSERT(conv != nullptr, place.path, " is neither a Linear nor a Conv2d");
  return {"conv2d", conv->weight, conv->bias, conv->options};
}

void run_sparse(const Place& place, const std::optional<at::Tensor>& mask) {
  if (auto* linear = exactly<nn::LinearImpl>(place.module)) {
    linear->switch_to_sparse("csr", mask);
  } else if (auto* conv = exactly<nn::Conv2dImpl>(place.module)) {
    conv->switch_to_sparse("csr", mask);
  } else if (auto* dense_linear = exactly<torch::nn::LinearImpl>(place.module)) {
    replace(place, nn::SparseLinear::from_dense(*dense_linear, "csr", mask));
  } else {
    auto* dense_conv = exactly<torch::nn::Conv2dImpl>(place.module);
    TORCH_INTERNAL_ASSERT(dense_conv != nullptr, place.path, " is neither a Linear nor a Conv2d");
    replace(place, nn::SparseConv2d::from_dense(*dense_conv, "csr", mask));
  }
}

}  // namespace jouleprune::prune
