// convert() with fuse = true: batch norms folded into the csr or int8 layer before them, activations applied by its op.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "prune/candidates.h"

namespace jouleprune::prune {

/// Names of the layers that will run in layout csr or int8 and whose inputs have a batch in front, so that a batch norm behind them is one
/// over their outputs: [n, features] of a Linear, [n, channels, ...] of a convolution. To be called before the layers are replaced.
std::set<std::string> batched_layers(torch::nn::Module& module, const Forward& forward, const std::vector<Candidate>& candidates);

/// Lets the sparse layers among `layers` that are items of a Sequential take over what follows them there; by layer what to tell.
std::map<std::string, std::string> fuse(torch::nn::Module& module, const std::set<std::string>& layers);

}  // namespace jouleprune::prune
