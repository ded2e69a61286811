#include "prune/recording.h"

#include <jouleprune/value_errors.h>

#include <algorithm>

namespace jouleprune {
namespace prune {
namespace {

void check_share(const std::string& op, const std::string& what, double share) {
  TORCH_CHECK_VALUE(share >= 0 && share <= 1, op, ": activation_density", what, ": expected a share in [0, 1], got ", share);
}

void set_densities(const std::string& op, Workload& workload, const ActivationDensity& density) {
  if (const auto* share = std::get_if<double>(&density)) {
    check_share(op, "", *share);
    for (auto& entry : workload.entries) {
      if (!entry.weight.empty()) {
        entry.input_density = *share;
      }
    }
  } else if (const auto* shares = std::get_if<std::map<std::string, double>>(&density)) {
    for (const auto& [layer, value] : *shares) {
      check_share(op, " of '" + layer + "'", value);
      bool found = false;
      for (auto& entry : workload.entries) {
        if (entry.name == layer) {
          entry.input_density = value;
          found = true;
        }
      }
      TORCH_CHECK_VALUE(found, op, ": activation_density: expected names of recorded layers, got '", layer, "'");
    }
  }
}

void check_forward(const std::string& op, const Forward& forward) {
  TORCH_CHECK_VALUE(forward.run, op, ": forward.run: expected a callable, got an empty std::function");
  TORCH_CHECK_VALUE(forward.batch >= 0, op, ": forward.batch: expected a number >= 0, got ", forward.batch);
  TORCH_CHECK_VALUE(forward.count >= 0, op, ": forward.count: expected a number >= 0, got ", forward.count);
  TORCH_CHECK_VALUE(forward.per == "inference" || ((forward.per == "token" || forward.per == "request") && forward.count > 0),
                    op, ": forward.per: expected \"inference\", or \"token\" or \"request\" with a count, got \"",
                    forward.per, "\" with count ", forward.count);
}

}  // namespace

EvalMode::EvalMode(torch::nn::Module& module) {
  modes_.emplace_back(&module, module.is_training());
  for (const auto& child : module.named_modules("", /*include_self=*/false)) {
    modes_.emplace_back(child.value().get(), child.value()->is_training());
  }
  module.eval();
}

EvalMode::~EvalMode() {
  for (const auto& [module, training] : modes_) {  // train() reaches the children too: parents come first
    module->train(training);
  }
}

record::NamedTensors named_tensors(const torch::nn::Module& module) {
  record::NamedTensors tensors;
  for (const auto& parameter : module.named_parameters()) {
    tensors.emplace_back(parameter.key(), parameter.value());
  }
  for (const auto& buffer : module.named_buffers()) {
    tensors.emplace_back(buffer.key(), buffer.value());
  }
  return tensors;
}

Workload record_module(const std::string& op, torch::nn::Module& module, const Forward& forward,
                       const ActivationDensity& activation_density) {
  check_forward(op, forward);
  record::Options options;
  options.batch = forward.batch;
  options.measure_activations = std::holds_alternative<MeasuredActivations>(activation_density);
  const EvalMode eval_mode(module);
  auto workload = with_value_errors([&] { return record::run(forward.run, named_tensors(module), options); });
  workload.per = forward.per;
  workload.count = forward.count > 0 ? forward.count : std::max<int64_t>(workload.batch, 1);
  TORCH_CHECK_VALUE(!workload.entries.empty(), op, ": forward: expected a callable that runs the model, but it ran nothing that "
                    "can be priced");
  set_densities(op, workload, activation_density);
  return workload;
}

}  // namespace prune

EnergyReport estimate(torch::nn::Module& module, const Forward& forward, const Profile& profile) {
  const auto workload = prune::record_module("estimate", module, forward, 1.0);
  return with_value_errors([&] { return estimate(workload, profile); });
}

}  // namespace jouleprune
