#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <jouleprune/ops_criteria.h>
#include <jouleprune/proximal.h>
#include <jouleprune/value_errors.h>

#include <algorithm>
#include <cmath>

#include "prune/selector.h"
#include "select/pattern.h"

namespace jouleprune {
namespace {

void check_at_least_0(const char* name, double value) {
  TORCH_CHECK_VALUE(value >= 0 && std::isfinite(value), "Proximal: ", name, ": expected a finite number of at least 0, got ", value);
}

std::array<int64_t, 2> block_of(const std::string& text) {
  using select::Pattern;
  TORCH_CHECK_VALUE(text != "auto", "Proximal: pattern: expected 'unstructured' or blocks 'RxC', got 'auto'");
  const auto pattern = with_value_errors([&] { return Pattern::parse(text); });
  TORCH_CHECK_VALUE(pattern.kind != Pattern::Kind::kNofM, "Proximal: pattern: expected 'unstructured' or blocks 'RxC', got '", text, "'");
  return {pattern.r, pattern.c};
}

/// Sizes of the parts of `size` in steps, float64.
at::Tensor parts(int64_t size, int64_t step) {
  std::vector<double> sizes;
  for (int64_t start = 0; start < size; start += step) sizes.push_back(static_cast<double>(std::min(step, size - start)));
  return at::tensor(sizes, at::kDouble);
}

at::Tensor parameter_of(const torch::nn::Module& module, const std::string& name) {
  const auto parameters = module.named_parameters();
  const auto* found = parameters.find(name);
  TORCH_CHECK_VALUE(found != nullptr, "Proximal: module: it has no parameter '", name, "' any more");
  return *found;
}

}  // namespace

Proximal::Proximal(torch::nn::Module& module, const Forward& forward, const ProximalOptions& options)
    : owner_(module.weak_from_this().lock()), module_(&module), strength_(options.strength), block_(block_of(options.pattern)) {
  check_at_least_0("strength", options.strength);
  const prune::Selector selector("Proximal", module, forward,
                                 {.energy = Budget::percent(100),
                                  .profile = options.profile,
                                  .pattern = options.pattern,
                                  .importance = "magnitude",
                                  .ignored_layers = options.ignored_layers,
                                  .activation_density = options.activation_density,
                                  .replace_in_lists = options.replace_in_lists});
  const MaskedPlan plan = selector.select(module, nullptr);
  double joules = 0, weights = 0;
  for (const auto& layer : plan.layers) {
    const auto weight = parameter_of(module, layer.weight);
    const auto count = static_cast<double>(weight.numel());
    scales_[layer.weight] = layer.dense_j / std::max(count, 1.0);
    joules += scales_[layer.weight] * count;
    weights += count;
    const auto matrix = weight.flatten(1);
    root_sizes_[layer.weight] = parts(matrix.size(0), block_[0]).outer(parts(matrix.size(1), block_[1])).sqrt();
  }
  const double mean = joules / std::max(weights, 1.0);
  for (auto& [name, scale] : scales_) scale = mean > 0 ? scale / mean : 1;
}

void Proximal::step(double lr) {
  check_at_least_0("lr", lr);
  const at::NoGradGuard no_grad;
  for (const auto& [name, scale] : scales_) {
    const auto weight = parameter_of(*module_, name);
    shrink_units_(weight.detach(), root_sizes_.at(name).to(weight.device()) * (lr * strength_ * scale), block_);
  }
}

}  // namespace jouleprune
