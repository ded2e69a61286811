// Scores of weights beyond those of op importance, and thresholds on them; by torch's ops, one definition for every device.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cdist.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "ops/criteria_signatures.h"
#include "ops/signatures.h"
#include "ops/unit_values.h"

namespace jouleprune::ops {
namespace {

void check_floats(const char* op, const char* name, const Tensor& tensor) {
  TORCH_CHECK_VALUE(tensor.layout() == at::kStrided, op, ": ", name, ": expected a dense (strided) tensor, got layout ",
                    tensor.layout());
  TORCH_CHECK_TYPE(at::isFloatingType(tensor.scalar_type()), op, ": ", name, ": expected a floating-point dtype, got ",
                   tensor.scalar_type());
  TORCH_CHECK_VALUE(at::isfinite(tensor).all().item<bool>(), op, ": ", name, ": expected finite numbers, got NaN or inf");
}

void check_rows(const char* op, const Tensor& weight) {
  check_floats(op, "weight", weight);
  TORCH_CHECK_VALUE(weight.dim() >= 2, op, ": weight: expected [rows, cols] or more dimensions, got ", weight.sizes());
}

Tensor as_scores(const Tensor& scores) {
  return scores.clamp_max(std::numeric_limits<float>::max()).to(at::kFloat).contiguous();
}

/// `scores` of the matrix [rows, channels] of each tap: a block of a convolution is that many channels at one tap, as in plans.
/// Weights without taps, and single weights, are one matrix.
template <class Scores>
Tensor by_taps(const Tensor& weight, at::IntArrayRef block_size, const Scores& scores) {
  const bool single = std::all_of(block_size.begin(), block_size.end(), [](int64_t size) { return size == 1; });
  if (weight.dim() == 2 || single) return scores(weight);
  std::vector<Tensor> taps = weight.flatten(2).unbind(2);
  for (Tensor& tap : taps) tap = scores(tap);
  return at::stack(taps, 2).view(weight.sizes());
}

Tensor norm_importance(const Tensor& weight, at::IntArrayRef block_size, double norm) {
  constexpr const char* kOp = "norm_importance";
  const at::NoGradGuard no_grad;
  check_rows(kOp, weight);
  TORCH_CHECK_VALUE(norm > 0, kOp, ": norm: expected a number above 0, got ", norm);
  static const auto unit_norms = find_op<UnitNorms>("jouleprune::unit_norms");
  return by_taps(weight, block_size, [&](const Tensor& matrix) {
    const auto block = checked_block(kOp, matrix, block_size);
    return as_scores(spread_values(std::get<0>(unit_norms.call(matrix, {}, block, norm)), matrix, block));
  });
}

/// splitmix64 (Steele, Lea and Flood, OOPSLA 2014) of a counter: the same numbers for any device and number of threads.
uint64_t mixed(uint64_t z) {
  z += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

Tensor random_importance(const Tensor& weight, at::IntArrayRef block_size, int64_t seed, int64_t stream) {
  constexpr const char* kOp = "random_importance";
  const at::NoGradGuard no_grad;
  check_rows(kOp, weight);
  uint64_t next = mixed(mixed(static_cast<uint64_t>(seed)) ^ static_cast<uint64_t>(stream));
  return by_taps(weight, block_size, [&](const Tensor& matrix) {
    const auto block = checked_block(kOp, matrix, block_size);
    const Tensor units = at::empty(units_of(matrix, block), at::TensorOptions().dtype(at::kFloat));
    float* out = units.mutable_data_ptr<float>();
    for (int64_t i = 0; i < units.numel(); ++i) {  // (0, 1]: nothing looks like a weight of no importance
      out[i] = static_cast<float>((mixed(next++) >> 40) + 1) * 0x1p-24f;
    }
    return spread_values(units.to(weight.device()), matrix, block).contiguous();
  });
}

Tensor fpgm_importance(const Tensor& weight) {
  const at::NoGradGuard no_grad;
  check_rows("fpgm_importance", weight);
  const Tensor rows = matrix_of(weight).to(at::kDouble);
  // Differences, not the expansion by products: that one loses half the digits between filters that are alike.
  const Tensor distances = at::cdist(rows, rows, 2.0, /*compute_mode=*/2).sum(1, /*keepdim=*/true);
  return as_scores(distances.expand_as(rows).reshape(weight.sizes()));
}

Tensor input_importance(const Tensor& weight, const Tensor& inputs, double scale) {
  constexpr const char* kOp = "input_importance";
  const at::NoGradGuard no_grad;
  check_rows(kOp, weight);
  check_floats(kOp, "inputs", inputs);
  TORCH_CHECK_VALUE(inputs.dim() == 2 && inputs.size(0) >= 1 && weight.size(0) % inputs.size(0) == 0 &&
                        inputs.size(1) == weight.size(1),
                    kOp, ": inputs: expected [groups, ", weight.size(1), "], groups dividing the ", weight.size(0),
                    " rows of weight, got ", inputs.sizes());
  TORCH_CHECK_VALUE(inputs.ge(0).all().item<bool>(), kOp, ": inputs: expected numbers of at least 0");
  TORCH_CHECK_VALUE(inputs.device() == weight.device(), kOp, ": inputs: expected the device of weight, ", weight.device(),
                    ", got ", inputs.device());
  TORCH_CHECK_VALUE(scale >= 0 && std::isfinite(scale), kOp, ": scale: expected a finite number of at least 0, got ", scale);
  const int64_t groups = inputs.size(0), of_group = weight.size(0) / groups, channels = weight.size(1);
  const int64_t taps = weight.numel() == 0 ? 0 : weight.numel() / (weight.size(0) * channels);
  const Tensor grouped = weight.to(at::kDouble).abs().reshape({groups, of_group, channels, taps});
  return as_scores((grouped * inputs.to(at::kDouble).view({groups, 1, channels, 1}) * scale).reshape(weight.sizes()));
}

/// The magnitude that has the share `amount` of all below it; those equal to it stay.
Tensor theta_of_share(const Tensor& magnitudes, double amount) {
  const auto rank = static_cast<int64_t>(std::floor(amount * static_cast<double>(magnitudes.numel())));
  const int64_t kth = std::min(rank, magnitudes.numel() - 1) + 1;  // floor may round up to all of them
  return std::get<0>(magnitudes.flatten().kthvalue(kth));
}

std::tuple<Tensor, Tensor> mask_threshold(const Tensor& values, double amount, std::string_view rule) {
  constexpr const char* kOp = "mask_threshold";
  const at::NoGradGuard no_grad;
  check_floats(kOp, "values", values);
  TORCH_CHECK_VALUE(amount >= 0 && std::isfinite(amount), kOp, ": amount: expected a finite number of at least 0, got ", amount);
  TORCH_CHECK_VALUE(rule == "absolute" || rule == "quantile" || rule == "std" || rule == "max", kOp,
                    ": rule: expected one of absolute, quantile, std, max, got '", rule, "'");
  TORCH_CHECK_VALUE(rule != "quantile" || amount < 1, kOp, ": amount: expected a share in [0, 1) for the rule quantile, got ",
                    amount);
  const Tensor magnitudes = values.abs().to(at::kDouble);
  Tensor theta = at::full({}, amount, magnitudes.options());
  if (values.numel() > 0 && rule == "quantile") theta = theta_of_share(magnitudes, amount);
  if (values.numel() > 0 && rule == "std") theta = theta * values.to(at::kDouble).std(/*unbiased=*/false);
  if (values.numel() > 0 && rule == "max") theta = theta * magnitudes.max();
  return {magnitudes.ge(theta), theta};
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CompositeExplicitAutograd, m) {
  m.impl("norm_importance", TORCH_FN(jouleprune::ops::norm_importance));
  m.impl("random_importance", TORCH_FN(jouleprune::ops::random_importance));
  m.impl("fpgm_importance", TORCH_FN(jouleprune::ops::fpgm_importance));
  m.impl("input_importance", TORCH_FN(jouleprune::ops::input_importance));
  m.impl("mask_threshold", TORCH_FN(jouleprune::ops::mask_threshold));
}

TORCH_LIBRARY_IMPL(jouleprune, Autograd, m) {
  for (const char* op : {"norm_importance", "random_importance", "fpgm_importance", "input_importance", "mask_threshold"}) {
    m.impl(op, torch::CppFunction::makeFallthrough());
  }
}
