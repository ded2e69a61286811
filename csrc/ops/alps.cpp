// alps: chooses what to keep of a layer and solves for it by ADMM on the reconstruction problem of reconstruct.cpp. After Meng, Behdin, Wang
// and Mazumder, ALPS: Improved Optimization for Highly Sparse One-Shot Pruning for LLMs, NeurIPS 2024, algorithm 1; what is kept is
// then refit exactly where the paper runs conjugate gradients.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <cmath>
#include <tuple>
#include <vector>

#include "ops/criteria_signatures.h"
#include "ops/reconstruct.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

constexpr double kFirstPenalty = 0.1;  // of the scaled problem, whose Hessian has a diagonal of ones
constexpr int kCheckEvery = 3;         // iterations between two looks at how the mask changes

struct Wish {
  double sparsity;
  at::IntArrayRef block_size, n_of_m;
};

/// What the pattern keeps of the largest entries of `values` [rows, cols].
Tensor largest(const Tensor& values, const Wish& wish) {
  static const auto keep_n_of_m = find_op<MaskNOfM>("jouleprune::mask_n_of_m");
  if (!wish.n_of_m.empty()) return keep_n_of_m.call(values, {}, wish.n_of_m[0], wish.n_of_m[1], 1);
  static const auto unit_norms = find_op<UnitNorms>("jouleprune::unit_norms");
  static const auto mask_smallest = find_op<MaskSmallest>("jouleprune::mask_smallest");
  static const auto spread_units = find_op<SpreadUnits>("jouleprune::spread_units");
  const Tensor norms = std::get<0>(unit_norms.call(values, {}, wish.block_size, 2.0));
  const auto amount = static_cast<int64_t>(std::llround(wish.sparsity * static_cast<double>(norms.numel())));
  return spread_units.call(mask_smallest.call(norms, {}, amount).front(), {}, c10::fromIntArrayRefSlow(values.sizes()),
                           wish.block_size);
}

/// The penalty grows faster the more the mask still changes (section 3.2 of the paper); 1: it has settled.
double growth(int64_t changed, int64_t kept) {
  if (changed * 10 >= kept) return 1.3;
  if (changed * 200 >= kept) return 1.2;
  return changed > 0 ? 1.1 : 1.0;
}

/// The mask of one group: weight [rows, cols], hessian [cols, cols] damped.
Tensor admm_mask(const Tensor& weight, const Tensor& hessian, const Wish& wish, int64_t iterations) {
  const Tensor scale = hessian.diagonal().sqrt();  // above 0: it is damped
  const Tensor scaled = hessian / scale.outer(scale), dense = weight * scale;
  const auto [values, vectors] = at::linalg_eigh(scaled);
  const Tensor wanted = dense.matmul(scaled);
  Tensor mask = largest(dense, wish), sparse = dense * mask, multiplier = at::zeros_like(dense), before = mask;
  double penalty = kFirstPenalty;
  for (int64_t i = 1; i <= iterations; ++i) {
    // (scaled + penalty)^-1 by the eigenvectors, which serve every penalty.
    const Tensor right = wanted + sparse * penalty - multiplier;
    const Tensor free = (right.matmul(vectors) / (values + penalty)).matmul(vectors.t());
    const Tensor moved = free + multiplier / penalty;
    mask = largest(moved, wish);
    sparse = moved * mask;
    multiplier = multiplier + (free - sparse) * penalty;
    if (i % kCheckEvery != 0) continue;
    const double factor = growth(mask.ne(before).sum().item<int64_t>(), mask.sum().item<int64_t>());
    if (factor == 1.0) break;
    penalty *= factor;
    before = mask;
  }
  return mask;
}

std::tuple<Tensor, Tensor> alps(const Tensor& weight, const Tensor& hessian, double sparsity, at::IntArrayRef block_size,
                                at::IntArrayRef n_of_m, double damp, int64_t iterations) {
  constexpr const char* kOp = "alps";
  const at::NoGradGuard no_grad;
  const Layer layer = checked_layer(kOp, weight, hessian, {}, damp);
  check_wish(kOp, /*given=*/false, sparsity, block_size, n_of_m);
  TORCH_CHECK_VALUE(iterations >= 1, kOp, ": iterations: expected at least 1, got ", iterations);
  const Tensor mask = layer.mask.clone();
  for (int64_t g = 0; g < mask.size(0) && mask.numel() > 0; ++g) {
    mask[g].copy_(admm_mask(layer.weight[g], layer.hessian[g], {sparsity, block_size, n_of_m}, iterations));
  }
  static const auto refit = find_op<Refit>("jouleprune::refit");
  const Tensor kept = mask.reshape(weight.sizes());
  return {refit.call(weight, hessian, kept, damp), kept};
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CompositeExplicitAutograd, m) { m.impl("alps", TORCH_FN(jouleprune::ops::alps)); }
TORCH_LIBRARY_IMPL(jouleprune, Autograd, m) { m.impl("alps", torch::CppFunction::makeFallthrough()); }
