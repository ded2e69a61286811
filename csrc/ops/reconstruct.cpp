// Layer-wise reconstruction: what is kept of a weight is changed so that the layer's outputs on calibration data change least,
//   min sum_x |(W' - W) x|^2 = tr((W' - W) H (W' - W)^T),   H = sum_x x x^T.
// add_hessian_ streams H, refit solves for a mask exactly, sparsegpt sweeps over the columns once and may choose the mask itself.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cholesky_inverse.h>
#include <ATen/ops/cholesky_solve.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/SymIntArrayRef.h>
#include <c10/util/accumulate.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "ops/criteria_signatures.h"
#include "ops/reconstruct.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

constexpr int64_t kBlockColumns = 128;  // of sparsegpt: later columns are updated once per block, by one product
constexpr int64_t kChunkRows = 4096;    // of inputs, converted to the Hessian's type at once

void add_hessian_(const Tensor& self, const Tensor& inputs) {
  constexpr const char* kOp = "add_hessian_";
  const at::NoGradGuard no_grad;
  TORCH_CHECK_TYPE(self.scalar_type() == at::kDouble, kOp, ": self: expected float64, got ", self.scalar_type());
  TORCH_CHECK_VALUE(self.dim() == 3 && self.size(1) == self.size(2), kOp, ": self: expected [groups, cols, cols], got ",
                    self.sizes());
  TORCH_CHECK_TYPE(at::isFloatingType(inputs.scalar_type()), kOp, ": inputs: expected a floating-point dtype, got ",
                   inputs.scalar_type());
  TORCH_CHECK_VALUE(inputs.dim() == 3 && inputs.size(0) == self.size(0) && inputs.size(2) == self.size(1), kOp,
                    ": inputs: expected [", self.size(0), ", n, ", self.size(1), "], got ", inputs.sizes());
  TORCH_CHECK_VALUE(inputs.device() == self.device(), kOp, ": inputs: expected the device of self, ", self.device(), ", got ",
                    inputs.device());
  TORCH_CHECK_VALUE(at::isfinite(inputs).all().item<bool>(), kOp, ": inputs: expected finite numbers, got NaN or inf");
  for (int64_t start = 0; start < inputs.size(1); start += kChunkRows) {
    const Tensor rows = inputs.slice(1, start, std::min(start + kChunkRows, inputs.size(1))).to(at::kDouble);
    self.baddbmm_(rows.transpose(1, 2), rows);
  }
}

/// One group: weight [rows, cols], hessian [cols, cols], mask [rows, cols] bool. Rows that keep the same columns are solved together.
Tensor refit_group(const Tensor& weight, const Tensor& hessian, const Tensor& mask) {
  const Tensor targets = weight.matmul(hessian), result = at::zeros_like(weight), on_cpu = mask.cpu().contiguous();
  std::map<std::string, std::vector<int64_t>> rows_of;
  const auto cols = static_cast<size_t>(weight.size(1));
  for (int64_t row = 0; row < weight.size(0); ++row) {
    const auto* bits = reinterpret_cast<const char*>(on_cpu.const_data_ptr<bool>()) + static_cast<size_t>(row) * cols;
    rows_of[std::string(bits, cols)].push_back(row);
  }
  for (const auto& [bits, list] : rows_of) {
    const Tensor rows = at::tensor(list, at::TensorOptions().dtype(at::kLong)).to(weight.device());
    const Tensor kept = mask[list.front()].nonzero().flatten();
    if (kept.numel() == 0) continue;
    const Tensor own = hessian.index_select(0, kept).index_select(1, kept);
    const Tensor wanted = targets.index_select(0, rows).index_select(1, kept).t();
    const Tensor solved = at::cholesky_solve(wanted, cholesky_of("refit", own)).t();
    result.index_copy_(0, rows, at::zeros({rows.size(0), weight.size(1)}, weight.options()).index_copy_(1, kept, solved));
  }
  return result;
}

Tensor refit(const Tensor& weight, const Tensor& hessian, const Tensor& mask, double damp) {
  const at::NoGradGuard no_grad;
  const Layer layer = checked_layer("refit", weight, hessian, mask, damp);
  const Tensor result = at::empty_like(layer.weight);
  for (int64_t g = 0; g < layer.weight.size(0); ++g) {
    result[g].copy_(refit_group(layer.weight[g], layer.hessian[g], layer.mask[g]));
  }
  return result.reshape(weight.sizes()).to(weight.scalar_type());
}

/// Chooses what to keep of the columns [begin, end) from their saliencies w^2 / [H^-1]_cc^2, in units.
class Chooser {
 public:
  Chooser(int64_t rows, int64_t cols, double sparsity, at::IntArrayRef block_size)
      : rows_(rows), cols_(cols), sparsity_(sparsity), block_{block_size[0], block_size[1]} {}

  Tensor choose(const Tensor& saliency, int64_t end) {
    static const auto unit_norms = find_op<UnitNorms>("jouleprune::unit_norms");
    static const auto mask_smallest = find_op<MaskSmallest>("jouleprune::mask_smallest");
    static const auto spread_units = find_op<SpreadUnits>("jouleprune::spread_units");
    const Tensor means = std::get<0>(unit_norms.call(saliency, {}, block_, 1.0));
    const auto ceil_div = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
    const int64_t so_far = ceil_div(rows_, block_[0]) * ceil_div(end, block_[1]);
    // Rounded over all columns up to here, so that the whole loses the share to the unit.
    const int64_t amount = std::clamp<int64_t>(std::llround(sparsity_ * static_cast<double>(so_far)) - removed_, 0, means.numel());
    removed_ += amount;
    const std::vector<Tensor> kept = mask_smallest.call(means, {}, amount);
    return spread_units.call(kept.front(), {}, c10::fromIntArrayRefSlow(saliency.sizes()), block_);
  }

 private:
  int64_t rows_, cols_, removed_ = 0;
  double sparsity_;
  std::array<int64_t, 2> block_;
};

struct Asked {
  double sparsity;
  at::IntArrayRef block_size, n_of_m;
  bool given;  ///< the mask comes from the caller
};

/// The sweep of one group, in place: `weight` and `mask` [rows, cols]. SparseGPT, Frantar and Alistarh, ICML 2023, algorithm 1.
void sweep(const Tensor& weight, const Tensor& hessian, const Tensor& mask, const Asked& asked) {
  const int64_t rows = weight.size(0), cols = weight.size(1);
  // U with U^T U = H^-1: row c of U, over its diagonal, is how the columns after c make up for a change of c.
  const Tensor inverse = at::cholesky_inverse(cholesky_of("sparsegpt", hessian));
  const Tensor upper = cholesky_of("sparsegpt", inverse).t().contiguous();
  const int64_t unit = asked.n_of_m.empty() ? asked.block_size[1] : asked.n_of_m[1];
  const int64_t width = (kBlockColumns + unit - 1) / unit * unit;  // no unit lies in two blocks
  Chooser chooser(rows, cols, asked.sparsity, asked.block_size);
  static const auto keep_n_of_m = find_op<MaskNOfM>("jouleprune::mask_n_of_m");
  for (int64_t begin = 0; begin < cols; begin += width) {
    const int64_t end = std::min(begin + width, cols);
    const Tensor block = weight.slice(1, begin, end), own = upper.slice(0, begin, end).slice(1, begin, end);
    const Tensor kept = mask.slice(1, begin, end), diagonal = own.diagonal(), errors = at::zeros_like(block);
    if (!asked.given && asked.n_of_m.empty()) kept.copy_(chooser.choose((block / diagonal).square().contiguous(), end));
    for (int64_t c = 0; c < end - begin; ++c) {
      if (!asked.given && !asked.n_of_m.empty() && c % unit == 0) {
        const int64_t stop = std::min(c + unit, end - begin);
        const Tensor saliency = (block.slice(1, c, stop) / diagonal.slice(0, c, stop)).square();
        kept.slice(1, c, stop).copy_(keep_n_of_m.call(saliency.contiguous(), {}, asked.n_of_m[0], unit, 1));
      }
      const Tensor column = block.select(1, c);
      const Tensor rounded = column * kept.select(1, c);
      const Tensor error = (column - rounded) / own[c][c];
      errors.select(1, c).copy_(error);
      block.slice(1, c + 1).addr_(error, own[c].slice(0, c + 1), 1, -1);
      column.copy_(rounded);
    }
    weight.slice(1, end).addmm_(errors, upper.slice(0, begin, end).slice(1, end), 1, -1);
  }
}

std::tuple<Tensor, Tensor> sparsegpt(const Tensor& weight, const Tensor& hessian, const OptionalTensor& mask, double sparsity,
                                     at::IntArrayRef block_size, at::IntArrayRef n_of_m, double damp) {
  constexpr const char* kOp = "sparsegpt";
  const at::NoGradGuard no_grad;
  const Layer layer = checked_layer(kOp, weight, hessian, mask, damp);
  check_wish(kOp, mask.has_value(), sparsity, block_size, n_of_m);
  const Tensor result = layer.weight.clone(), kept = layer.mask.clone();
  for (int64_t g = 0; g < result.size(0) && result.numel() > 0; ++g) {
    sweep(result[g], layer.hessian[g], kept[g], {sparsity, block_size, n_of_m, mask.has_value()});
  }
  return {result.reshape(weight.sizes()).to(weight.scalar_type()), kept.reshape(weight.sizes())};
}

}  // namespace

Tensor cholesky_of(const char* op, const Tensor& matrix) {
  const auto [factor, info] = at::linalg_cholesky_ex(matrix);
  TORCH_CHECK_VALUE(info.max().item<int32_t>() == 0, op,
                    ": hessian: expected a positive definite matrix once damped: give more calibration data or a larger damp");
  return factor;
}

Layer checked_layer(const char* op, const Tensor& weight, const Tensor& hessian, const OptionalTensor& mask, double damp) {
  TORCH_CHECK_TYPE(at::isFloatingType(weight.scalar_type()), op, ": weight: expected a floating-point dtype, got ",
                   weight.scalar_type());
  TORCH_CHECK_VALUE(weight.dim() >= 2, op, ": weight: expected [rows, cols] or more dimensions, got ", weight.sizes());
  TORCH_CHECK_VALUE(at::isfinite(weight).all().item<bool>(), op, ": weight: expected finite numbers, got NaN or inf");
  TORCH_CHECK_TYPE(hessian.scalar_type() == at::kDouble, op, ": hessian: expected float64, got ", hessian.scalar_type());
  const int64_t rows = weight.size(0), cols = c10::multiply_integers(weight.sizes().slice(1));
  TORCH_CHECK_VALUE(hessian.dim() == 3 && hessian.size(0) >= 1 && rows % hessian.size(0) == 0 && hessian.size(1) == cols &&
                        hessian.size(2) == cols,
                    op, ": hessian: expected [groups, ", cols, ", ", cols, "], groups dividing the ", rows,
                    " rows of weight, got ", hessian.sizes());
  TORCH_CHECK_VALUE(hessian.device() == weight.device(), op, ": hessian: expected the device of weight, ", weight.device(),
                    ", got ", hessian.device());
  TORCH_CHECK_VALUE(at::isfinite(hessian).all().item<bool>(), op, ": hessian: expected finite numbers, got NaN or inf");
  TORCH_CHECK_VALUE(damp > 0 && std::isfinite(damp), op, ": damp: expected a finite number above 0, got ", damp);
  const int64_t groups = hessian.size(0);
  Layer layer;
  layer.weight = weight.to(at::kDouble).reshape({groups, rows / groups, cols});
  // An input that is never there has a zero row: the damping alone holds its weights where they are.
  Tensor mean = hessian.diagonal(0, 1, 2).mean(1);
  mean = mean.masked_fill(mean.eq(0), 1).mul(damp);
  layer.hessian = hessian.clone();
  layer.hessian.diagonal(0, 1, 2).add_(mean.unsqueeze(1));
  if (mask.has_value()) {
    TORCH_CHECK_TYPE(mask->scalar_type() == at::kBool, op, ": mask: expected bool, got ", mask->scalar_type());
    TORCH_CHECK_VALUE(mask->sizes() == weight.sizes() && mask->device() == weight.device(), op,
                      ": mask: expected the shape and device of weight, ", weight.sizes(), " on ", weight.device(), ", got ",
                      mask->sizes(), " on ", mask->device());
    layer.mask = mask->reshape(layer.weight.sizes());
  } else {
    layer.mask = at::ones_like(layer.weight, at::TensorOptions().dtype(at::kBool));
  }
  return layer;
}

void check_wish(const char* op, bool given, double sparsity, at::IntArrayRef block_size, at::IntArrayRef n_of_m) {
  TORCH_CHECK_VALUE(sparsity >= 0 && sparsity <= 1, op, ": sparsity: expected a share in [0, 1], got ", sparsity);
  TORCH_CHECK_VALUE(block_size.size() == 2 && block_size[0] >= 1 && block_size[1] >= 1, op,
                    ": block_size: expected two sizes of at least 1, got ", block_size);
  TORCH_CHECK_VALUE(n_of_m.empty() || (n_of_m.size() == 2 && n_of_m[0] >= 0 && n_of_m[1] >= 1 && n_of_m[0] <= n_of_m[1]), op,
                    ": n_of_m: expected nothing or 0 <= n <= m, got ", n_of_m);
  TORCH_CHECK_VALUE(!given || (sparsity == 0 && n_of_m.empty()), op,
                    ": mask: comes with neither sparsity nor n_of_m: it says what is kept");
}

}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CompositeExplicitAutograd, m) {
  m.impl("add_hessian_", TORCH_FN(jouleprune::ops::add_hessian_));
  m.impl("refit", TORCH_FN(jouleprune::ops::refit));
  m.impl("sparsegpt", TORCH_FN(jouleprune::ops::sparsegpt));
}

TORCH_LIBRARY_IMPL(jouleprune, Autograd, m) {
  for (const char* op : {"refit", "sparsegpt"}) m.impl(op, torch::CppFunction::makeFallthrough());
}
