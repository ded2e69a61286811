// From names in a state dict to names of weights as people know them. Torch-free.
#pragma once
#include <set>
#include <string>

namespace jouleprune::record {

/// The weight that a stored tensor stands for: "fc.weight_orig", "fc.weight_mask", "fc.weight_g", a sparse module's
/// "fc.values" and "fc.parametrizations.weight.original0" are all "fc.weight"; "lstm.weight_ih_l0.values" is "lstm.weight_ih_l0".
/// `all`: every name of the model.
std::string weight_name(const std::string& name, const std::set<std::string>& all);

/// "fc.weight" -> "fc", "weight" -> "", "lstm.weight_ih_l0" -> itself.
std::string layer_name(const std::string& weight);

}  // namespace jouleprune::record
