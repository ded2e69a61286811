// Weights of modules that have several: each is a child, a Linear in layout csr or dense.
#pragma once
#include <jouleprune/nn_sequence.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

namespace jouleprune::nn {

/// No entry kept.
Linear empty_matrix(int64_t rows, int64_t cols, bool bias);

/// A child that multiplies by the weight, by its mask if there is one under this name, and shares nothing with it.
Linear packed_matrix(const at::Tensor& weight, const at::Tensor& bias, const std::string& name, const Masks& masks,
                     const std::set<std::string>& stay_dense);

/// Refuses another layout than csr, and masks and dense weights that the module lacks.
void check_matrices(const std::string& op, const std::vector<std::string>& names, const std::string& layout, const Masks& masks,
                    const std::set<std::string>& stay_dense);

/// Whether the weight is trained.
bool trains(const Linear& matrix);

/// Registers copies of the matrices that `module` holds: it is one that was just made, or copied.
template <typename Module>
void register_matrices(Module& module) {
  for (size_t i = 0; i < module.matrices.size(); ++i) {
    auto copy = std::dynamic_pointer_cast<LinearImpl>(module.matrices[i]->clone());
    module.matrices[i] = Linear(module.register_module(module.names[i], std::move(copy)));
  }
}

}  // namespace jouleprune::nn
