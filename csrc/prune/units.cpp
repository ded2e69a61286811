#include "prune/units.h"

#include <jouleprune/nn_attention.h>

#include "nn/csr_weight.h"
#include "prune/replace.h"

namespace jouleprune::prune {
namespace {

std::set<std::string> stay_dense(const torch::nn::Module& dense, const std::set<std::string>& sparse) {
  std::set<std::string> names;
  for (const auto& parameter : dense.named_parameters()) {
    if (parameter.key().find("bias") == std::string::npos && !sparse.contains(parameter.key())) names.insert(parameter.key());
  }
  return names;
}

std::optional<at::Tensor> mask_of(const nn::Masks& masks) {
  const auto mask = masks.find("weight");
  return mask == masks.end() ? std::nullopt : std::make_optional(mask->second);
}

/// Ours with several weights.
bool switches_several(torch::nn::Module* module) {
  return exactly<nn::LSTMImpl>(module) || exactly<nn::GRUImpl>(module) || exactly<nn::MultiheadAttentionImpl>(module);
}

}  // namespace

bool is_linear(torch::nn::Module* module) {
  return exactly<torch::nn::LinearImpl>(module) != nullptr || exactly<nn::LinearImpl>(module) != nullptr;
}

bool is_conv2d(torch::nn::Module* module) {
  return exactly<torch::nn::Conv2dImpl>(module) != nullptr || exactly<nn::Conv2dImpl>(module) != nullptr;
}

bool is_dense_attention(torch::nn::Module* module) {
  const auto* ours = exactly<nn::MultiheadAttentionImpl>(module);
  return exactly<torch::nn::MultiheadAttentionImpl>(module) != nullptr || (ours != nullptr && !ours->is_sparse());
}

torch::nn::Module* dense_of(torch::nn::Module* module) {
  if (auto* lstm = exactly<nn::LSTMImpl>(module)) return lstm->dense().get();
  if (auto* gru = exactly<nn::GRUImpl>(module)) return gru->dense().get();
  if (auto* attention = exactly<nn::MultiheadAttentionImpl>(module)) return attention->dense().get();
  return module;
}

bool takes_blocks(torch::nn::Module& root, const at::Tensor& parameter) {
  const auto places = places_of(root, parameter);
  if (places.size() != 1 || !holds_weight(places.front())) return false;
  const Place place = unit_of(root, places.front()).place;
  const bool one_of_several = dynamic_cast<nn::Matrices*>(place.parent) != nullptr || switches_several(place.parent);
  // A convolution runs blocks in int8 alone, which has kernels on the CPU alone.
  return (is_conv2d(place.module) && !parameter.is_cuda()) || (is_linear(place.module) && !one_of_several);
}

Unit unit_of(torch::nn::Module& root, const Place& place) {
  if (is_dense_attention(place.parent)) {
    for (const auto& above : modules_of(root)) {
      if (above.module == place.parent) return {above, place.child + "." + place.attribute};
    }
  }
  return {place, place.attribute};
}

bool switches(const Place& place) {
  return exactly<nn::LinearImpl>(place.module) || exactly<nn::Conv1dImpl>(place.module) || exactly<nn::Conv2dImpl>(place.module) ||
         switches_several(place.module);
}

LayerView view_layer(const Unit& unit) {
  torch::nn::Module* module = dense_of(unit.place.module);
  if (auto* linear = exactly<torch::nn::LinearImpl>(module)) return {"linear", linear->weight, linear->bias, std::nullopt};
  if (auto* linear = exactly<nn::LinearImpl>(module)) return {"linear", linear->weight, linear->bias, std::nullopt};
  if (auto* conv = exactly<torch::nn::Conv2dImpl>(module)) return {"conv2d", conv->weight, conv->bias, conv->options};
  if (auto* conv = exactly<nn::Conv2dImpl>(module)) return {"conv2d", conv->weight, conv->bias, conv->options};
  if (auto* conv = exactly<nn::Conv1dImpl>(module)) {
    return {"conv1d", conv->weight, conv->bias, nn::of_height_1(conv->options)};
  }
  if (auto* conv = exactly<torch::nn::Conv1dImpl>(module)) {
    return {"conv1d", conv->weight, conv->bias, nn::of_height_1(conv->options)};
  }
  const at::Tensor weight = module->named_parameters()[unit.weight];
  if (exactly<torch::nn::LSTMImpl>(module)) return {"lstm", weight, {}, std::nullopt};
  if (exactly<torch::nn::GRUImpl>(module)) return {"gru", weight, {}, std::nullopt};
  TORCH_INTERNAL_ASSERT(exactly<torch::nn::MultiheadAttentionImpl>(module), unit.place.path, " has no sparse module");
  return {"linear", weight, {}, std::nullopt};
}

nn::SparseLSTM sparse_twin(const torch::nn::LSTMImpl& dense, const nn::Masks& masks, const std::set<std::string>& sparse) {
  return nn::SparseLSTM::from_dense(dense, "csr", masks, stay_dense(dense, sparse));
}

nn::SparseGRU sparse_twin(const torch::nn::GRUImpl& dense, const nn::Masks& masks, const std::set<std::string>& sparse) {
  return nn::SparseGRU::from_dense(dense, "csr", masks, stay_dense(dense, sparse));
}

void run_sparse(const Place& place, const nn::Masks& masks, const std::set<std::string>& sparse) {
  const auto mask = mask_of(masks);
  if (auto* linear = exactly<nn::LinearImpl>(place.module)) {
    linear->switch_to_sparse("csr", mask);
  } else if (auto* conv = exactly<nn::Conv2dImpl>(place.module)) {
    conv->switch_to_sparse("csr", mask);
  } else if (auto* conv = exactly<nn::Conv1dImpl>(place.module)) {
    conv->switch_to_sparse("csr", mask);
  } else if (auto* lstm = exactly<nn::LSTMImpl>(place.module)) {
    lstm->switch_to_sparse("csr", masks, stay_dense(*lstm->dense(), sparse));
  } else if (auto* gru = exactly<nn::GRUImpl>(place.module)) {
    gru->switch_to_sparse("csr", masks, stay_dense(*gru->dense(), sparse));
  } else if (auto* attention = exactly<nn::MultiheadAttentionImpl>(place.module)) {
    attention->switch_to_sparse("csr", masks, stay_dense(*attention->dense(), sparse));
  } else if (auto* dense = exactly<torch::nn::LinearImpl>(place.module)) {
    replace(place, nn::SparseLinear::from_dense(*dense, "csr", mask));
  } else if (auto* dense = exactly<torch::nn::Conv2dImpl>(place.module)) {
    replace(place, nn::SparseConv2d::from_dense(*dense, "csr", mask));
  } else if (auto* dense = exactly<torch::nn::Conv1dImpl>(place.module)) {
    replace(place, nn::SparseConv1d::from_dense(*dense, "csr", mask));
  } else if (auto* dense = exactly<torch::nn::LSTMImpl>(place.module)) {
    replace(place, sparse_twin(*dense, masks, sparse));
  } else if (auto* dense = exactly<torch::nn::GRUImpl>(place.module)) {
    replace(place, sparse_twin(*dense, masks, sparse));
  } else {
    auto* attention = exactly<torch::nn::MultiheadAttentionImpl>(place.module);
    TORCH_INTERNAL_ASSERT(attention != nullptr, place.path, " has no sparse module");
    replace(place, nn::SparseMultiheadAttention::from_dense(*attention, "csr", masks, stay_dense(*attention, sparse)));
  }
}

Twin pack(const LayerView& layer, const nn::PackOptions& options) {
  if (layer.conv.has_value()) return nn::SparseConv2d::pack(layer.weight, layer.bias, *layer.conv, options);
  return nn::SparseLinear::pack(layer.weight, layer.bias, options);
}

void run_as(const Place& place, const Twin& made) {
  std::visit([&](const auto& layer) { layer.ptr()->train(place.module->is_training()); }, made);
  auto* linear = exactly<nn::LinearImpl>(place.module);
  auto* conv = exactly<nn::Conv2dImpl>(place.module);
  if (linear != nullptr) {
    linear->switch_to_sparse(std::get<nn::SparseLinear>(made));
  } else if (conv != nullptr) {
    conv->switch_to_sparse(std::get<nn::SparseConv2d>(made));
  } else {
    std::visit([&](const auto& layer) { replace(place, layer); }, made);
  }
}

}  // namespace jouleprune::prune
