#include "prune/int8.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "prune/recording.h"
#include "prune/watch.h"

namespace jouleprune::prune {
namespace {

constexpr double kMargin = 1.03;  // as in a race of two: below this the difference drowns in noise

bool fits(const Candidate& candidate) {
  if (!candidate.obstacle.empty()) return false;
  torch::nn::Module* module = candidate.unit.place.module;
  const bool linear = exactly<torch::nn::LinearImpl>(module) != nullptr || exactly<nn::LinearImpl>(module) != nullptr;
  return linear && candidate.parameter.is_cpu() && candidate.parameter.scalar_type() != at::kDouble;
}

/// The largest magnitude that each layer sees as its input fixes its scale.
void calibrate(const std::function<void()>& run, const NamedWeights& weights, std::map<std::string, Int8Layer>& layers) {
  std::map<std::string, double> largest;
  watch(run, weights, [&](const std::string& weight, const WatchedCall& call) {
    const double seen = call.input.numel() > 0 ? call.input.abs().max().item<double>() : 0;
    TORCH_CHECK_VALUE(std::isfinite(seen), "convert: calibration: '", weight, "' saw NaN or infinity in its input");
    largest[weight] = std::max(largest[weight], seen);
  });
  TORCH_CHECK_VALUE(!largest.empty(), "convert: calibration: expected a callable that runs the module, but it ran no pruned Linear");
  for (const auto& [weight, size] : largest) {
    if (size > 0) layers[weight].twin->fix_input_scale(size / 127);
  }
}

/// How far each twin's outputs are from the layer's on its own inputs in one forward pass.
std::map<std::string, std::string> errors(const Forward& forward, const NamedWeights& weights,
                                          const std::map<std::string, at::Tensor>& biases, std::map<std::string, Int8Layer>& layers) {
  std::map<std::string, std::pair<double, double>> wrong;
  std::map<std::string, at::Tensor> dense(weights.begin(), weights.end());
  watch(forward.run, weights, [&](const std::string& weight, const WatchedCall& call) {
    const at::Tensor& bias = biases.at(weight);
    const auto output = at::linear(call.input, dense.at(weight), bias.defined() ? std::make_optional(bias) : std::nullopt).to(at::kDouble);
    const auto twin = layers.at(weight).twin.ptr();
    wrong[weight].first += (twin->forward(call.input).to(at::kDouble) - output).square().sum().item<double>();
    wrong[weight].second += output.square().sum().item<double>();
  });
  std::map<std::string, std::string> told;
  for (const auto& [weight, tensor] : weights) {
    const auto [off, size] = wrong[weight];
    char text[80];
    std::snprintf(text, sizeof(text), "relative error %.2f%% on the example inputs", 100 * std::sqrt(off / std::max(size, 1e-300)));
    told[weight] = size > 0 || off > 0 ? text : "the example inputs do not reach it";
  }
  return told;
}

/// All calls of the layer, by one kernel against dense.
Race race_kernel(const Candidate& candidate, const Int8Layer& layer, const std::string& kernel, const Workload& workload,
                 const Timer& timer, plan::TuningTable* tuning) {
  Race sum;
  const auto view = view_layer(candidate.unit);
  for (const auto& entry : workload.entries) {
    if (entry.weight != candidate.weight) continue;
    RaceCase call{view.weight, candidate.mask, view.bias, "linear", {entry.n, view.weight.size(1)}};
    call.kernel = kernel;
    call.input_scale = layer.twin->input_scale;
    sum += race(call, timer, tuning);
  }
  return sum;
}

void decide(const Candidate& candidate, Int8Layer& layer, const std::string& error, const Workload& workload, const Timer& timer,
            plan::TuningTable* tuning) {
  const auto run = [&](const char* kernel) { return race_kernel(candidate, layer, kernel, workload, timer, tuning); };
  const Race int8 = run("bsr-int8"), csr = run("csr"), torch_int8 = run("torch-int8");
  if (int8.label.empty()) {
    layer.reason = "int8: the recorded pass does not run it";
    return;
  }
  // Each race has timed dense once more: times are brought to the dense time of the int8 race.
  const double csr_s = int8.dense_s * csr.sparse_s / csr.dense_s, torch_s = int8.dense_s * torch_int8.sparse_s / torch_int8.dense_s;
  layer.wanted = int8.sparse_s * kMargin < std::min(int8.dense_s, csr_s);
  layer.dense_s = int8.dense_s, layer.sparse_s = int8.sparse_s;
  const bool noisy = csr.label == Race::kNoisy || torch_int8.label == Race::kNoisy;
  char times[200];
  std::snprintf(times, sizeof(times), "bsr int8 %.1f us, csr %.1f us, dense %.1f us, torch dense int8 %.1f us per pass (",
                int8.sparse_s * 1e6, csr_s * 1e6, int8.dense_s * 1e6, torch_s * 1e6);
  const std::string all = times + (noisy ? std::string(Race::kNoisy) : int8.label) + ")";
  layer.reason = layer.wanted ? "bsr int8: " + all + "; " + error : "int8 does not win: " + all;
}

}  // namespace

std::map<std::string, Int8Layer> int8_layers(torch::nn::Module& module, const std::vector<Candidate>& candidates,
                                             const Workload& workload, const Forward& forward, const ConvertOptions& options) {
  const EvalMode eval_mode(module);
  std::map<std::string, Int8Layer> layers;
  NamedWeights weights;
  std::map<std::string, at::Tensor> biases;
  for (const auto& candidate : candidates) {
    if (!fits(candidate)) continue;
    const auto view = view_layer(candidate.unit);
    layers[candidate.weight].twin = nn::SparseLinear::pack(view.weight, view.bias, {.mask = candidate.mask, .dtype = "int8"});
    layers[candidate.weight].twin->train(candidate.unit.place.module->is_training());
    weights.emplace_back(candidate.weight, candidate.parameter);
    biases[candidate.weight] = view.bias;
  }
  if (weights.empty()) return layers;
  if (options.calibration) calibrate(options.calibration, weights, layers);
  const auto error = errors(forward, weights, biases, layers);
  KeptTimes kept;
  for (const auto& candidate : candidates) {
    const auto layer = layers.find(candidate.weight);
    if (layer == layers.end()) continue;
    if (options.force) {
      layer->second.wanted = true;
      layer->second.reason = "bsr int8: forced; " + error.at(candidate.weight);
    } else {
      decide(candidate, layer->second, error.at(candidate.weight), workload, options.timer, kept.table());
    }
  }
  kept.save();
  return layers;
}

void tell(const Int8Layer& layer, Decision& decision) {
  if (!layer.wanted) {
    decision.reason += "; " + layer.reason;
    return;
  }
  decision.layout = "bsr";
  decision.kernel = "bsr-int8";
  decision.reason = layer.reason;
  decision.dense_s = layer.dense_s;
  decision.sparse_s = layer.sparse_s;
}

}  // namespace jouleprune::prune
