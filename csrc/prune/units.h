// The modules that a sparse one can replace: what holds their weights, and what takes their place.
#pragma once
#include <jouleprune/nn_sequence.h>

#include <optional>
#include <set>
#include <string>
#include <typeinfo>
#include <variant>
#include <vector>

#include "prune/layers.h"

namespace jouleprune::prune {

/// A module that a sparse one can replace, and the name that it has for one of its weights: of attention "out_proj.weight", too.
struct Unit {
  Place place;
  std::string weight;
};

/// Of a place with holds_weight(): the module itself, or the attention whose projection it is.
Unit unit_of(torch::nn::Module& root, const Place& place);

/// The module as Impl, if it is of that very class. A class derived from torch::nn::LinearImpl may compute anything in its forward:
/// only the class itself is a Linear.
template <typename Impl>
Impl* exactly(torch::nn::Module* module) {
  return module != nullptr && typeid(*module) == typeid(Impl) ? static_cast<Impl*>(module) : nullptr;
}

/// Whether it is one of ours, which switches in place.
bool switches(const Place& place);

/// A Linear, torch's or ours.
bool is_linear(torch::nn::Module* module);

/// A multi-head attention, torch's or ours while it is dense: its projection `out_proj` is a child whose weight it reads.
bool is_dense_attention(torch::nn::Module* module);

/// A Conv2d, torch's or ours.
bool is_conv2d(torch::nn::Module* module);

/// Whether the layer that holds the parameter can run it in blocks, or in int8: a Linear on the CPU that is called by itself, or a
/// Conv2d there, for which no kernel takes blocks other than int8's.
bool takes_blocks(torch::nn::Module& root, const at::Tensor& parameter);

/// The recurrent layer or attention of torch inside one of ours that is dense, or the module itself.
torch::nn::Module* dense_of(torch::nn::Module* module);

/// What a race needs to know about a layer.
struct LayerView {
  std::string op;           // "linear", "conv1d", "conv2d", "lstm", "gru"
  at::Tensor weight, bias;  // of attention without the bias
  std::optional<torch::nn::detail::ConvNdOptions<2>> conv;  // conv1d: of height 1
};
LayerView view_layer(const Unit& unit);

/// The sparse module for a dense one of several weights: those not in `sparse` stay dense. `masks`: by the dense module's names.
nn::SparseLSTM sparse_twin(const torch::nn::LSTMImpl& dense, const nn::Masks& masks, const std::set<std::string>& sparse);
nn::SparseGRU sparse_twin(const torch::nn::GRUImpl& dense, const nn::Masks& masks, const std::set<std::string>& sparse);

/// Makes weights of the unit run in layout csr: switches ours, replaces torch's in its container. The place must have no obstacle.
void run_sparse(const Place& place, const nn::Masks& masks, const std::set<std::string>& sparse);
/// What takes the place of a Linear or a Conv2d: the weight in blocks, or in int8.
using Twin = std::variant<nn::SparseLinear, nn::SparseConv2d>;
Twin pack(const LayerView& layer, const nn::PackOptions& options);
/// Makes the layer run as `made`, in the layer's mode.
void run_as(const Place& place, const Twin& made);

}  // namespace jouleprune::prune
