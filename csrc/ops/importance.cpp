// Importance scores of single weights.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/sort.h>
#include <torch/library.h>

#include <cmath>
#include <limits>
#include <span>

#include "ops/signatures.h"
#include "select/lamp.h"

namespace jouleprune::ops {
namespace {

constexpr const char* kOp = "importance";

void check_scores_source(const char* name, const Tensor& tensor) {
  TORCH_CHECK_VALUE(tensor.layout() == at::kStrided, kOp, ": ", name, ": expected a dense (strided) tensor, got layout ",
                    tensor.layout());
  TORCH_CHECK_TYPE(at::isFloatingType(tensor.scalar_type()), kOp, ": ", name, ": expected a floating-point dtype, got ",
                   tensor.scalar_type());
  if (tensor.numel() == 0) return;
  const auto [least, most] = at::aminmax(tensor);  // NaN if there is one
  TORCH_CHECK_VALUE(std::isfinite(least.item<double>()) && std::isfinite(most.item<double>()), kOp, ": ", name,
                    ": expected finite numbers, got NaN or inf");
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

/// The sums in order of magnitude: on the CPU by digits (select/lamp.h), elsewhere by torch's sort.
Tensor lamp(const Tensor& weight) {
  if (weight.is_cpu()) {
    const Tensor source = weight.scalar_type() == at::kDouble ? weight.contiguous() : weight.to(at::kFloat).contiguous();
    Tensor scores = at::empty(source.sizes(), source.options().dtype(at::kFloat));
    const size_t size = static_cast<size_t>(source.numel());
    const std::span<float> written(scores.mutable_data_ptr<float>(), size);
    if (source.scalar_type() == at::kDouble) {
      select::lamp(std::span(source.const_data_ptr<double>(), size), written);
    } else {
      select::lamp(std::span(source.const_data_ptr<float>(), size), written);
    }
    return scores;
  }
  const auto [in_order, order] = at::sort(weight.abs().reshape({weight.numel()}), /*stable=*/true, /*dim=*/0, /*descending=*/false);
  const auto sorted = in_order.to(at::kDouble).square();
  const auto sums = sorted.flip({0}).cumsum(0).flip({0});
  const auto scores = (sorted / sums).masked_fill(sums.eq(0), 0);  // only zeros from here on
  return at::empty_like(scores).index_copy_(0, order, scores).view(weight.sizes());
}

Tensor importance(const Tensor& weight, const OptionalTensor& grad, std::string_view criterion) {
  const at::NoGradGuard no_grad;
  TORCH_CHECK_VALUE(criterion == "magnitude" || criterion == "gradient" || criterion == "taylor" || criterion == "lamp", kOp,
                    ": criterion: expected one of magnitude, gradient, taylor, lamp, got '", criterion, "'");
  check_scores_source("weight", weight);
  if (criterion == "lamp") return lamp(weight).to(at::kFloat).contiguous();
  // A product of two float32 numbers is rounded once, in float32 as from double: the wider type is for double alone.
  const auto wide = [](const Tensor& tensor) { return tensor.scalar_type() == at::kDouble ? tensor : tensor.to(at::kFloat); };
  Tensor scores;
  if (criterion == "magnitude") {
    scores = wide(weight).square();
  } else if (criterion == "gradient") {
    scores = wide(checked_grad(weight, grad, criterion)).abs();
  } else {
    const Tensor& gradient = checked_grad(weight, grad, criterion);
    const bool both_double = weight.scalar_type() == at::kDouble || gradient.scalar_type() == at::kDouble;
    scores = both_double ? weight.to(at::kDouble) * gradient.to(at::kDouble) : wide(weight) * wide(gradient);
    scores.abs_();
  }
  return scores.clamp_max_(std::numeric_limits<float>::max()).to(at::kFloat).contiguous();
}

}  // namespace
}  // namespace jouleprune::ops

TORCH_LIBRARY_IMPL(jouleprune, CompositeExplicitAutograd, m) { m.impl("importance", TORCH_FN(jouleprune::ops::importance)); }
TORCH_LIBRARY_IMPL(jouleprune, Autograd, m) { m.impl("importance", torch::CppFunction::makeFallthrough()); }
