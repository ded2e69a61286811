#include "prune/race_works.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/conv1d.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/quantize_per_channel.h>
#include <ATen/ops/quantize_per_tensor.h>
#include <ATen/ops/zeros.h>
#include <jouleprune/ops.h>
#include <jouleprune/ops_int8.h>

#include <algorithm>
#include <vector>

#include "nn/conv_quads.h"
#include "nn/csr_weight.h"

namespace jouleprune::prune {
namespace {

using Work = std::function<void()>;
using Works = std::pair<Work, Work>;

struct Parts {
  at::Tensor input, weight;
  std::optional<at::Tensor> bias;
};

/// torch's dynamic int8 of the dense weight, on the engine that torch has chosen for this machine. It takes float32 alone.
Work torch_int8(const Parts& parts) {
  auto& dispatcher = c10::Dispatcher::singleton();
  const auto prepack = dispatcher.findSchemaOrThrow("quantized::linear_prepack", "");
  const auto multiply = dispatcher.findSchemaOrThrow("quantized::linear_dynamic", "");
  const auto weight = parts.weight.to(at::kFloat);
  const double scale = std::max(weight.abs().max().item<double>() / 127, 1e-30);
  torch::jit::Stack stack{at::quantize_per_tensor(weight, scale, 0, at::kQInt8),
                          parts.bias.has_value() ? c10::IValue(parts.bias->to(at::kFloat)) : c10::IValue()};
  prepack.callBoxed(stack);
  return [multiply, packed = stack.back(), input = parts.input] {
    torch::jit::Stack call{input.to(at::kFloat), packed, /*reduce_range=*/false};
    multiply.callBoxed(call);
  };
}

/// torch's static int8 of the dense convolution, between a quantisation and its inverse; scales are those of the race's inputs. It
/// takes float32 alone.
Work torch_int8_conv(const RaceCase& call, const Parts& parts) {
  auto& dispatcher = c10::Dispatcher::singleton();
  const auto prepack = dispatcher.findSchemaOrThrow("quantized::conv2d_prepack", "");
  const auto convolve = dispatcher.findSchemaOrThrow("quantized::conv2d", "new");
  const auto weight = parts.weight.to(at::kFloat);
  const auto scales = (weight.flatten(1).abs().amax(1) / 127).clamp_min(1e-8);
  torch::jit::Stack stack{at::quantize_per_channel(weight, scales, at::zeros({weight.size(0)}, at::kLong), 0, at::kQInt8),
                          parts.bias.has_value() ? c10::IValue(parts.bias->to(at::kFloat)) : c10::IValue(),
                          std::vector<int64_t>(call.stride.begin(), call.stride.end()),
                          std::vector<int64_t>(call.padding.begin(), call.padding.end()),
                          std::vector<int64_t>(call.dilation.begin(), call.dilation.end()), call.groups};
  prepack.callBoxed(stack);
  const auto input = parts.input.dim() == 3 ? parts.input.unsqueeze(0) : parts.input;
  return [convolve, packed = stack.back(), input] {
    constexpr double kStep = 1.0 / 127;
    constexpr int64_t kZero = 128;
    torch::jit::Stack run{at::quantize_per_tensor(input.to(at::kFloat), kStep, kZero, at::kQUInt8), packed, kStep, kZero};
    convolve.callBoxed(run);
    run.back().toTensor().dequantize();
  };
}

Work bsr_int8_conv(const RaceCase& call, const Parts& parts) {
  auto mask = nn::kept_entries("race", parts.weight, call.mask);
  if (mask.has_value()) mask = nn::taps_first(*mask);
  auto [blocks, columns, offsets, key, scales] = pack_bsr_int8(nn::taps_first(parts.weight), mask);
  const auto scale = call.input_scale.defined() ? std::make_optional(call.input_scale) : std::nullopt;
  const auto input = parts.input.dim() == 3 ? parts.input.unsqueeze(0) : parts.input;
  return [=, weight = parts.weight, bias = parts.bias, blocks = blocks, columns = columns, offsets = offsets, key = key, scales = scales] {
    conv2d_bsr_int8(input, blocks, columns, offsets, key, scales, scale, std::nullopt, bias, weight.size(1) * call.groups,
                    weight.sizes().slice(2), call.stride, call.padding, call.dilation, call.groups);
  };
}

Work bsr_int8(const RaceCase& call, const Parts& parts) {
  auto [blocks, columns, offsets, key, scales] = pack_bsr_int8(parts.weight, nn::kept_entries("race", parts.weight, call.mask));
  const auto scale = call.input_scale.defined() ? std::make_optional(call.input_scale) : std::nullopt;
  return [=, blocks = blocks, columns = columns, offsets = offsets, key = key, scales = scales] {
    linear_bsr_int8(parts.input, blocks, columns, offsets, key, scales, scale, std::nullopt, parts.bias, parts.weight.size(1));
  };
}

Works linear_works(const RaceCase& call, const Parts& parts) {
  const Work dense = [parts] { at::linear(parts.input, parts.weight, parts.bias); };
  if (call.kernel == "bsr-int8") return {dense, bsr_int8(call, parts)};
  if (call.kernel == "torch-int8") return {dense, torch_int8(parts)};
  const auto csr = nn::pack("race", parts.weight, "csr", call.mask);
  return {dense, [parts, csr] {
            linear_csr(parts.input, csr.values, csr.col_indices, csr.row_offsets, csr.key, std::nullopt, parts.bias,
                       parts.weight.size(1), "none");
          }};
}

Works conv_works(const RaceCase& call, const Parts& parts) {
  const bool flat = call.op == "conv1d";
  const auto [stride, padding, dilation, groups] = std::tuple(call.stride, call.padding, call.dilation, call.groups);
  std::vector<int64_t> kernel = parts.weight.sizes().slice(2).vec();
  if (flat) kernel.insert(kernel.begin(), 1);
  const Work dense = [=] {
    flat ? at::conv1d(parts.input, parts.weight, parts.bias, stride[1], padding[1], dilation[1], groups)
         : at::conv2d(parts.input, parts.weight, parts.bias, stride, padding, dilation, groups);
  };
  if (call.kernel == "bsr-int8") return {dense, bsr_int8_conv(call, parts)};
  if (call.kernel == "torch-int8") return {dense, torch_int8_conv(call, parts)};
  const auto csr = nn::pack("race", parts.weight, "csr", call.mask);
  return {dense, [=] {
            auto rows = flat ? parts.input.unsqueeze(-2) : parts.input;
            if (rows.dim() == 3) rows = rows.unsqueeze(0);
            conv2d_csr(rows, csr.values, csr.col_indices, csr.row_offsets, csr.key, std::nullopt, parts.bias,
                       parts.weight.size(1) * groups, kernel, stride, padding, dilation, groups, "none");
          }};
}

}  // namespace

Works works_of(const RaceCase& call) {
  const bool linear = call.op == "linear";
  TORCH_CHECK_VALUE(linear || call.op == "conv1d" || call.op == "conv2d", "race: op: expected linear, conv1d or conv2d, got '", call.op, "'");
  const bool in_int8 = call.kernel == "bsr-int8" || call.kernel == "torch-int8";
  TORCH_CHECK_VALUE(call.kernel == "csr" || (in_int8 && call.op != "conv1d"),
                    "race: kernel: expected csr, or of a linear or conv2d bsr-int8 or torch-int8, got '", call.kernel, "'");
  const auto weight = call.weight.detach();
  // random numbers would advance the user's generator
  const Parts parts{at::full(call.input_sizes, 0.5, weight.options()), weight,
                    call.bias.defined() ? std::make_optional(call.bias.detach()) : std::nullopt};
  return linear ? linear_works(call, parts) : conv_works(call, parts);
}

}  // namespace jouleprune::prune
