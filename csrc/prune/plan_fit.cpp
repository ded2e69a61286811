#include "prune/plan_fit.h"

#include <jouleprune/ops.h>
#include <jouleprune/value_errors.h>

#include <algorithm>
#include <cmath>

#include "select/pattern.h"

namespace jouleprune::prune {
namespace {

int64_t ceil_of(int64_t size, int64_t step) { return (size + step - 1) / step; }

/// Units of a weight, as the planner counts them.
int64_t units_in(const std::string& pattern_text, at::IntArrayRef sizes) {
  using select::Pattern;
  const int64_t weights = c10::multiply_integers(sizes);
  const auto pattern = pattern_text == "dense" ? Pattern{} : with_value_errors([&] { return Pattern::parse(pattern_text); });
  if (pattern.kind == Pattern::Kind::kUnstructured || sizes.empty()) return weights;
  const int64_t rows = sizes[0], cols = weights / std::max<int64_t>(rows, 1);
  if (pattern.kind == Pattern::Kind::kNofM) return rows * (cols / pattern.m * pattern.n + std::min(pattern.n, cols % pattern.m));
  const int64_t taps = sizes.size() > 2 ? c10::multiply_integers(sizes.slice(2)) : 1;  // of a convolution: channels at one tap
  return ceil_of(rows, pattern.r) * ceil_of(cols / std::max<int64_t>(taps, 1), pattern.c) * taps;
}

void check_mask(const LayerPlan& layer, const at::Tensor& bits, const at::Tensor& weight, const std::string& where) {
  const int64_t weights = weight.numel(), bytes = (weights + 7) / 8;
  TORCH_CHECK_VALUE(bits.scalar_type() == at::kByte && bits.dim() == 1 && bits.numel() == bytes, where, ": mask of '", layer.weight,
                    "': expected uint8 [", bytes, "], got ", bits.scalar_type(), " ", bits.sizes());
  const auto planned = layer.units == weights ? layer.kept : std::llround(layer.density * static_cast<double>(weights));
  const auto kept = unpack_mask(bits, weight.sizes()).sum().item<int64_t>();
  TORCH_CHECK_VALUE(kept == planned, where, ": mask of '", layer.weight, "': expected ", planned, " kept weights as planned, got ", kept);
}

}  // namespace

void check_fit(const MaskedPlan& plan, const torch::nn::Module& module, const std::string& where) {
  const auto parameters = module.named_parameters();
  size_t pruned = 0;
  for (const auto& layer : plan.layers) {
    const auto* weight = parameters.find(layer.weight);
    TORCH_CHECK_VALUE(weight != nullptr, where, ": names the weight '", layer.weight, "', which the module lacks");
    const int64_t units = units_in(layer.pattern, weight->sizes());
    TORCH_CHECK_VALUE(layer.units == units, where, ": '", layer.weight, "': expected ", units, " units, got ", layer.units);
    const auto mask = plan.masks.find(layer.weight);
    const bool has_mask = mask != plan.masks.end();
    TORCH_CHECK_VALUE(has_mask == (layer.pattern != "dense"), where, ": '", layer.weight, "' is ",
                      has_mask ? "dense: expected no mask, got one" : "pruned: expected a mask among masks, got none");
    if (!has_mask) continue;
    ++pruned;
    check_mask(layer, mask->second, *weight, where);
  }
  TORCH_CHECK_VALUE(pruned == plan.masks.size(), where, ": masks: expected those of ", pruned, " pruned weights, got ", plan.masks.size());
}

}  // namespace jouleprune::prune
