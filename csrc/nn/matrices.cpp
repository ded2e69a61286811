#include "nn/matrices.h"

#include <algorithm>

#include "nn/csr_weight.h"

namespace jouleprune::nn {
namespace {

at::Tensor owned(const at::Tensor& parameter) {
  return parameter.defined() ? parameter.detach().clone().set_requires_grad(parameter.requires_grad()) : parameter;
}

}  // namespace

int64_t Matrices::nnz() const {
  int64_t kept = 0;
  for (const Linear& matrix : matrices) kept += matrix->nnz();
  return kept;
}

Linear empty_matrix(int64_t rows, int64_t cols, bool bias) {
  return Linear(SparseLinear(SparseLinearOptions(cols, rows, bias)));
}

Linear packed_matrix(const at::Tensor& weight, const at::Tensor& bias, const std::string& name, const Masks& masks,
                     const std::set<std::string>& stay_dense) {
  if (stay_dense.contains(name)) {
    return Linear(owned(weight), owned(bias));
  }
  const auto mask = masks.find(name);
  return Linear(SparseLinear::pack(
      weight, bias, {.layout = "csr", .mask = mask == masks.end() ? std::nullopt : std::make_optional(mask->second)}));
}

void check_matrices(const std::string& op, const std::vector<std::string>& names, const std::string& layout, const Masks& masks,
                    const std::set<std::string>& stay_dense) {
  check_csr(op, layout);
  const auto check = [&](const char* argument, const std::string& name) {
    TORCH_CHECK_VALUE(std::find(names.begin(), names.end(), name) != names.end(), op, ": ", argument, ": the layer has no weight '",
                      name, "'");
  };
  for (const auto& [name, mask] : masks) check("masks", name);
  for (const auto& name : stay_dense) check("stay_dense", name);
}

bool trains(const Linear& matrix) {
  return (matrix->is_sparse() ? matrix->sparse()->values : matrix->weight).requires_grad();
}

}  // namespace jouleprune::nn
