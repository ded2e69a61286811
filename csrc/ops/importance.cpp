// Importance scores of single weights, by torch's ops: one definition for every device.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/sort.h>
#include <torch/library.h>

#include <limits>

#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

constexpr const char* kOp = "importance";

void check_scores_source(const char* name, const Tensor& tensor) {
  TORCH_CHECK_VALUE(tensor.layout() == at::kStrided, kOp, ": ", name, ": expected a dense (strided) tensor, got layout ",
                    tensor.layout());
  TORCH_CHECK_TYPE(at::isFloatingType(tensor.scalar_type()), kOp, ": ", name, ": expected a floating-point dtype, got ",
                   tensor.scalar_type());
  TORCH_CHECK_VALUE(at::isfinite(tensor).all().item<bool>(), kOp, ": ", name, ": expected finite numbers, got NaN or inf");
}

const Tensor& checked_grad(const Tensor& weight, const OptionalTensor& grad, std::string_view criterion) {
  TORCH_CHECK_VALUE(grad.has_value() && grad->defined(), kOp, ": grad: criterion '", criterion,
                    "' needs the gradient of the weight, got none");
  TORCH_CHECK_VALUE(grad->sizes() == weight.sizes(), kOp, ": grad: expected the shape of weight, ", weight.sizes(), ", got ",
                    grad->sizes());
  TORCH_CHECK_VALUE(grad->device() == weight.device(), kOp, ": grad: expected the device of weight, ", weight.device(), ", got ",
                    grad->device());
  check_scores_source("grad", *grad);
  return *grad;
}

at::ScalarType bits_of(at::ScalarType floats) {
  return floats == at::kDouble ? at::kLong : floats == at::kFloat ? at::kInt : at::kShort;
}

/// Suffix sums over a stable ascending sort, in double: position p of the order gets the sum of squares from p to the end.
Tensor lamp(const Tensor& weight) {
  const auto magnitudes = weight.abs().reshape({weight.numel()});  // sorts as the squares do, in half the bytes
  // Bits of numbers that are not negative sort as the numbers do, and whole numbers by digits: a third of the time on the CPU.
  const auto keys = magnitudes.is_cpu() ? magnitudes.view(bits_of(magnitudes.scalar_type())) : magnitudes;
  const auto [in_order, order] = at::sort(keys, /*stable=*/true, /*dim=*/0, /*descending=*/false);
  const auto sorted = in_order.view(magnitudes.scalar_type()).to(at::kDouble).square();
  const auto sums = sorted.flip({0}).cumsum(0).flip({0});
  const auto scores = (sorted / sums).masked_fill(sums.eq(0), 0);  // only zeros from here on
  return at::empty_like(scores).index_copy_(0, order, scores).view(weight.sizes());
}

Tensor importance(const Tensor& weight, const OptionalTensor& grad, std::string_view criterion) {
  const at::NoGradGuard no_grad;
  TORCH_CHECK_VALUE(criterion == "magnitude" || criterion == "gradient" || criterion == "taylor" || criterion == "lamp", kOp,
                    ": criterion: expected one of magnitude, gradient, taylor, lamp, got '", criterion, "'");
  check_scores_source("weight", weight);
  Tensor scores;
  if (criterion == "magnitude") {
    scores = weight.to(at::kDouble).square();
  } else if (criterion == "gradient") {
    scores = checked_grad(weight, grad, criterion).to(at::kDouble).abs();
  } else if (criterion == "taylor") {
    scores = (weight.to(at::kDouble) * checked_grad(weight, grad, criterion).to(at::kDouble)).abs();
  } else {
    scores = lamp(weight);
  }
  return scores.clamp_max(std::numeric_limits<float>::max()).to(at::kFloat).contiguous();
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CompositeExplicitAutograd, m) { m.impl("importance", TORCH_FN(jouleprune::ops::importance)); }
TORCH_LIBRARY_IMPL(jouleprune, Autograd, m) { m.impl("importance", torch::CppFunction::makeFallthrough()); }
