#include "prune/criteria/context.h"

#include <jouleprune/value_errors.h>

#include <algorithm>

#include "select/pattern.h"

namespace jouleprune::prune::criteria {

at::Tensor Context::parameter(size_t i) const {
  const auto parameters = module.named_parameters();
  const auto* found = parameters.find(weights[i]);
  TORCH_CHECK_VALUE(found != nullptr, "importance: the module has no parameter '", weights[i],
                    "' any more (convert() made it sparse?): choosing masks anew needs the dense layer");
  return *found;
}

at::Tensor Context::weight(size_t i) const { return parameter(i).detach(); }

NamedWeights Context::named_weights() const {
  NamedWeights named;
  for (size_t i = 0; i < weights.size(); ++i) named.emplace_back(weights[i], parameter(i));
  return named;
}

std::array<int64_t, 2> Context::block(size_t i) const {
  if (patterns[i] == "auto") return {1, 1};
  const auto pattern = with_value_errors([&] { return select::Pattern::parse(patterns[i]); });
  if (pattern.kind != select::Pattern::Kind::kBlock) return {1, 1};
  return {pattern.r, pattern.c};
}

at::Tensor of_rows(const at::Tensor& weight, const at::Tensor& rows) {
  std::vector<int64_t> sizes(static_cast<size_t>(weight.dim()), 1);
  sizes[0] = -1;
  return rows.to(weight.device(), at::kFloat).view(sizes).expand_as(weight);
}

void check_layers(const Context& context, const std::string& criterion) {
  for (const auto& name : context.weights) {
    for (const auto& entry : context.workload.entries) {
      const bool fits = entry.op == "linear" || entry.op == "conv1d" || entry.op == "conv2d";
      TORCH_CHECK_VALUE(entry.weight != name || fits, "importance '", criterion, "': '", name,
                        "': expected the weight of a Linear, Conv1d or Conv2d, got that of op ", entry.op,
                        ": name the layer in ignored_layers, or take another importance");
    }
  }
}

void check_called(const Context& context, const std::string& criterion, const std::function<bool(size_t)>& seen) {
  for (size_t i = 0; i < context.weights.size(); ++i) {
    TORCH_CHECK_VALUE(seen(i), "data: importance '", criterion, "': expected a callable that runs the module, but no batch went through the layer of '",
                      context.weights[i], "': name it in ignored_layers, or take another importance");
  }
}

at::Tensor features(const std::string& op, const at::Tensor& x) {
  if (op == "linear") return x.reshape({-1, x.size(-1)}).t();
  return x.movedim(op == "conv1d" ? -2 : -3, 0).flatten(1);
}

}  // namespace jouleprune::prune::criteria
