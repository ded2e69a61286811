#include "plan/gpu_choice.h"

#include <jouleprune/version.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace jouleprune::plan {
namespace {

using cuda::csr::DenseType;
using cuda::csr::Kernel;
using cuda::csr::Machine;
using cuda::csr::Shape;

constexpr double kNearDensity = 1.25;  // times at densities up to this factor away serve, scaled as the prediction scales

const char* dtype_of(cuda::ElementType type) {
  switch (type) {
    case cuda::ElementType::kFloat64: return "float64";
    case cuda::ElementType::kBFloat16: return "bfloat16";
    case cuda::ElementType::kFloat16: return "float16";
    case cuda::ElementType::kFloat32: break;
  }
  return "float32";
}

double density_of(const Shape& shape) {
  const double all = static_cast<double>(shape.rows) * static_cast<double>(shape.cols);
  return all == 0 ? 0 : static_cast<double>(shape.nnz) / all;
}

Shape with(const Shape& shape, double density, int64_t n) {
  const double all = static_cast<double>(shape.rows) * static_cast<double>(shape.cols);
  return {shape.type, shape.rows, shape.cols, static_cast<int64_t>(std::llround(density * all)), n};
}

/// Batches whose times may serve: its own, then powers of two up to a factor of two away, the nearest first.
std::vector<int64_t> near_batches(int64_t n) {
  std::vector<int64_t> batches{n};
  int64_t power = 1;
  while (power * 2 <= n) power *= 2;
  for (const int64_t each : {power, power * 2}) {
    if (each != n && each >= 1) batches.push_back(each);
  }
  return batches;
}

/// The measured time nearest to the call, brought to its shape by the ratio of predictions.
std::optional<double> measured(const Shape& shape, Kernel kernel, const Machine& machine, const TuningTable& times) {
  const double density = density_of(shape);
  const std::string name = name_of(kernel);
  for (const int64_t n : near_batches(shape.n)) {
    TunedCall call = gpu_call(shape);
    call.n = n;
    std::optional<double> found;
    double nearest = kNearDensity;
    for (const auto& [at, kernels] : times.by_density(call)) {
      const auto time = kernels.find(name);
      if (time == kernels.end() || !(at > 0) || !(density > 0)) continue;
      // Dense times hold for any density.
      const double factor = kernel == Kernel::kDense ? 1 : std::max(at / density, density / at);
      if (factor > nearest) continue;
      nearest = factor;
      found = time->second * predicted_s(kernel, shape, machine) / predicted_s(kernel, with(shape, at, n), machine);
    }
    if (found.has_value()) return found;
  }
  return std::nullopt;
}

GpuCandidate candidate(Kernel kernel, const Shape& shape, const Machine& machine, const TuningTable* times) {
  GpuCandidate found{name_of(kernel), predicted_s(kernel, shape, machine), std::nullopt, ""};
  if (std::isinf(found.predicted_s)) {
    found.why_not = std::string("serves no ") + dtype_of(shape.type);
  } else if (times != nullptr) {
    found.measured_s = measured(shape, kernel, machine, *times);
  }
  return found;
}

std::string microseconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f", 1e6 * seconds);
  return std::isinf(seconds) ? "-" : text;
}

}  // namespace

std::string gpu_identity(std::string_view name, int major, int minor, int multiprocessors) {
  return std::string(name) + ", " + std::to_string(major) + "." + std::to_string(minor) + ", " + std::to_string(multiprocessors) +
         " multiprocessors, jouleprune " + std::string(version());
}

TunedCall gpu_call(const Shape& shape) {
  TunedCall call;
  call.op = "linear";
  call.dtype = dtype_of(shape.type);
  call.rows = shape.rows;
  call.cols = shape.cols;
  call.n = shape.n;
  call.density = density_of(shape);
  return call;
}

GpuDecision choose_on_gpu(const Shape& shape, const Machine& machine, const TuningTable* times, const std::string& no_cusparse) {
  constexpr Kernel kKernels[] = {Kernel::kDense, Kernel::kByEntries, Kernel::kByTokens, Kernel::kTiles, Kernel::kCusparse};
  GpuDecision decision;
  for (const Kernel kernel : kKernels) decision.candidates.push_back(candidate(kernel, shape, machine, times));
  GpuCandidate& cusparse = decision.candidates.back();
  if (!no_cusparse.empty()) {
    cusparse.why_not = no_cusparse;
    cusparse.measured_s.reset();
  }
  const bool by_times = decision.candidates.front().measured_s.has_value();
  if (!by_times && cusparse.why_not.empty()) cusparse.why_not = "not measured";
  size_t best = 0;
  const auto seconds = [&](const GpuCandidate& each) { return by_times ? *each.measured_s : each.predicted_s; };
  for (size_t i = 1; i < decision.candidates.size(); ++i) {
    GpuCandidate& each = decision.candidates[i];
    if (by_times && each.why_not.empty() && !each.measured_s.has_value()) each.why_not = "not measured, dense is";
    if (each.why_not.empty() && seconds(each) < seconds(decision.candidates[best])) best = i;
  }
  decision.kernel = kKernels[best];
  const GpuCandidate& chosen = decision.candidates[best];
  const char* const how = by_times ? "measured" : "predicted";
  decision.reason = best == 0 ? std::string("dense: no sparse kernel is ") + how + " to be quicker"
                              : chosen.name + ": " + how + " to take " + microseconds(seconds(chosen)) + " us, dense " +
                                    microseconds(seconds(decision.candidates.front())) + " us";
  for (const auto& [type, name] : {std::pair{DenseType::k16Bit, "dense 16-bit"}, {DenseType::kInt8, "dense int8"}, {DenseType::kFp8, "dense fp8"}}) {
    const bool own = type == DenseType::k16Bit && size_of(shape.type) == 2;
    if (own) continue;  // that is "dense"
    const double predicted = predicted_dense_s(type, shape, machine);
    decision.candidates.push_back({name, predicted, std::nullopt, std::isinf(predicted) ? "this GPU has no such product" : "the model is not in that type"});
  }
  return decision;
}

std::string GpuDecision::to_string() const {
  std::string text;
  for (const GpuCandidate& each : candidates) {
    std::string line = each.name + std::string(each.name.size() < 13 ? 13 - each.name.size() : 1, ' ');
    line += "predicted " + microseconds(each.predicted_s) + " us";
    if (each.measured_s.has_value()) line += ", measured " + microseconds(*each.measured_s) + " us";
    if (!each.why_not.empty()) line += " (" + each.why_not + ")";
    text += line + "\n";
  }
  return text + "-> " + reason;
}

}  // namespace jouleprune::plan
