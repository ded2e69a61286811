#include "prune/int8.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/linear.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "nn/csr_weight.h"
#include "prune/race.h"
#include "prune/races.h"
#include "prune/recording.h"
#include "prune/watch.h"

namespace jouleprune::prune {
namespace {

bool fits(const Candidate& candidate) {
  if (!candidate.obstacle.empty()) return false;
  torch::nn::Module* module = candidate.unit.place.module;
  return (is_linear(module) || is_conv2d(module)) && candidate.parameter.is_cpu() && candidate.parameter.scalar_type() != at::kDouble;
}

/// The largest magnitude that each layer sees as its input fixes its scale.
void calibrate(const std::function<void()>& run, const NamedWeights& weights, std::map<std::string, Int8Layer>& layers) {
  std::map<std::string, double> largest;
  watch(run, weights, [&](const std::string& weight, const WatchedCall& call) {
    const double seen = call.input.numel() > 0 ? call.input.abs().max().item<double>() : 0;
    TORCH_CHECK_VALUE(std::isfinite(seen), "convert: calibration: '", weight, "' saw NaN or infinity in its input");
    largest[weight] = std::max(largest[weight], seen);
  });
  TORCH_CHECK_VALUE(!largest.empty(), "convert: calibration: expected a callable that runs the module, but it ran no pruned Linear or Conv2d");
  for (const auto& [weight, size] : largest) {
    const double scale = size / 127;
    if (size > 0) std::visit([&](const auto& twin) { twin.ptr()->fix_input_scale(scale); }, layers[weight].twin);
  }
}

at::Tensor dense_output(const LayerView& layer, const at::Tensor& input) {
  const auto bias = layer.bias.defined() ? std::make_optional(layer.bias) : std::nullopt;
  if (!layer.conv.has_value()) return at::linear(input, layer.weight, bias);
  const auto& conv = *layer.conv;
  return at::conv2d(input, layer.weight, bias, *conv.stride(), *nn::zero_padding(conv), *conv.dilation(), conv.groups());
}

/// How far each twin's outputs are from the layer's on its own inputs in one forward pass.
std::map<std::string, std::string> errors(const Forward& forward, const NamedWeights& weights,
                                          const std::map<std::string, LayerView>& dense, std::map<std::string, Int8Layer>& layers) {
  std::map<std::string, std::pair<double, double>> wrong;
  watch(forward.run, weights, [&](const std::string& weight, const WatchedCall& call) {
    const auto output = dense_output(dense.at(weight), call.input).to(at::kDouble);
    const auto close = std::visit([&](const auto& twin) { return twin.ptr()->forward(call.input); }, layers.at(weight).twin);
    wrong[weight].first += (close.to(at::kDouble) - output).square().sum().item<double>();
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

/// The layer's calls, to be timed.
std::vector<RaceCase> cases_of(const Candidate& candidate, const Int8Layer& layer, const Workload& workload, const InputSizes& sizes) {
  const auto view = view_layer(candidate.unit);
  RaceCase call = case_of(candidate, view);
  call.input_scale = std::visit([](const auto& twin) { return twin.ptr()->input_scale; }, layer.twin);
  std::vector<RaceCase> calls;
  if (const auto seen = sizes.find(candidate.weight); seen != sizes.end()) {
    for (const auto& input : seen->second) calls.emplace_back(call).input_sizes = input;
    return calls;
  }
  for (const auto& entry : workload.entries) {
    if (entry.weight != candidate.weight || view.conv.has_value()) continue;
    calls.emplace_back(call).input_sizes = {entry.n, view.weight.size(1)};
  }
  return calls;
}

/// All of them by one kernel against dense.
Race race_kernel(std::vector<RaceCase> calls, const std::string& kernel, const Timer& timer, plan::TuningTable* tuning) {
  Race sum;
  for (RaceCase& call : calls) {
    call.kernel = kernel;
    sum += race(call, timer, tuning);
  }
  return sum;
}

void decide(const std::vector<RaceCase>& calls, Int8Layer& layer, const std::string& error, const Timer& timer,
            plan::TuningTable* tuning) {
  const auto run = [&](const char* kernel) { return race_kernel(calls, kernel, timer, tuning); };
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
  NamedWeights weights, convolutions;
  std::map<std::string, LayerView> dense;
  for (const auto& candidate : candidates) {
    if (!fits(candidate)) continue;
    const auto view = dense.emplace(candidate.weight, view_layer(candidate.unit)).first->second;
    layers[candidate.weight].twin = pack(view, {.mask = candidate.mask, .dtype = "int8"});
    weights.emplace_back(candidate.weight, candidate.parameter);
    if (view.conv.has_value()) convolutions.emplace_back(candidate.weight, candidate.parameter);
  }
  if (weights.empty()) return layers;
  if (options.calibration) calibrate(options.calibration, weights, layers);
  const auto error = errors(forward, weights, dense, layers);
  const auto sizes = options.force ? InputSizes{} : conv_input_sizes(forward.run, convolutions);
  KeptTimes kept;
  for (const auto& candidate : candidates) {
    const auto layer = layers.find(candidate.weight);
    if (layer == layers.end()) continue;
    if (options.force) {
      layer->second.wanted = true;
      layer->second.reason = "bsr int8: forced; " + error.at(candidate.weight);
    } else {
      const auto calls = cases_of(candidate, layer->second, workload, sizes);
      decide(calls, layer->second, error.at(candidate.weight), options.timer, kept.table());
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
