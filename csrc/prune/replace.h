// Another module in the place of one that a container holds.
#pragma once
#include <c10/util/Exception.h>
#include <torch/nn/modules/container/any.h>
#include <torch/nn/modules/container/moduledict.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/container/sequential.h>

#include "prune/layers.h"

namespace jouleprune::prune {

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

}  // namespace jouleprune::prune
