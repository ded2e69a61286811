// What the ops of layer-wise reconstruction share: checked arguments in double precision, group by group.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

namespace jouleprune::ops {

/// A layer as the solvers see it, float64. `weight`, `mask` (bool) [groups, rows of a group, cols]; `hessian` [groups, cols, cols], damped.
struct Layer {
  at::Tensor weight, hessian, mask;
};

/// Throws ValueError or TypeError that names the argument. `hessian` gets damp x the mean of its diagonal added to the diagonal.
Layer checked_layer(const char* op, const at::Tensor& weight, const at::Tensor& hessian, const std::optional<at::Tensor>& mask,
                    double damp);

/// What an op may be asked to remove: a share of units of `block_size`, or all but n of m; nothing when a mask is `given`.
void check_wish(const char* op, bool given, double sparsity, at::IntArrayRef block_size, at::IntArrayRef n_of_m);

/// The lower factor of a symmetric matrix. Throws ValueError when it is not positive definite.
at::Tensor cholesky_of(const char* op, const at::Tensor& matrix);

}  // namespace jouleprune::ops
