// C++ signatures of the ops on criteria, significance and reconstruction in library.cpp.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string_view>
#include <tuple>

namespace jouleprune::ops {

using NormImportance = at::Tensor(const at::Tensor& weight, at::IntArrayRef block_size, double norm);
using RandomImportance = at::Tensor(const at::Tensor& weight, at::IntArrayRef block_size, int64_t seed, int64_t stream);
using FpgmImportance = at::Tensor(const at::Tensor& weight);
using InputImportance = at::Tensor(const at::Tensor& weight, const at::Tensor& inputs, double scale);
using MaskThreshold = std::tuple<at::Tensor, at::Tensor>(const at::Tensor& values, double amount, std::string_view rule);
using SignificanceTest = std::tuple<at::Tensor, at::Tensor>(const at::Tensor& sums, const at::Tensor& square_sums, int64_t n);
using BenjaminiHochberg = at::Tensor(const at::Tensor& p, double alpha);
using ShrinkUnits = void(const at::Tensor& self, const at::Tensor& amounts, at::IntArrayRef block_size);
using AddHessian = void(const at::Tensor& self, const at::Tensor& inputs);
using Reconstruct = std::tuple<at::Tensor, at::Tensor>(const at::Tensor& weight, const at::Tensor& hessian,
                                                       const std::optional<at::Tensor>& mask, double sparsity,
                                                       at::IntArrayRef block_size, at::IntArrayRef n_of_m, double damp);
using Alps = std::tuple<at::Tensor, at::Tensor>(const at::Tensor& weight, const at::Tensor& hessian, double sparsity,
                                                at::IntArrayRef block_size, at::IntArrayRef n_of_m, double damp,
                                                int64_t iterations);
using Refit = at::Tensor(const at::Tensor& weight, const at::Tensor& hessian, const at::Tensor& mask, double damp);

}  // namespace jouleprune::ops
