// linear_csr_chain: Linear layers one after the other. Made of linear_csr, so that autograd, autocast, fakes, CUDA and the recorder come
// with it; float32 inference on the CPU runs as one kernel, to the same bits.
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/record_function.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>
#include <jouleprune/ops.h>
#include <torch/library.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/ceil_div.h"
#include "kernels/caches.h"
#include "kernels/csr/linear_chain.h"
#include "kernels/csr/linear_code.h"
#include "kernels/csr/small/kernels.h"
#include "kernels/jit/pattern_code.h"
#include "ops/csr_checks.h"
#include "ops/parallel.h"
#include "ops/signatures.h"

namespace jouleprune::ops {
namespace {

constexpr const char* kChain = "linear_csr_chain";
namespace csr = kernels::csr;

struct Layer {
  Tensor values, col_indices, row_offsets, key;
  OptionalTensor bias;
  std::string activation;
};

/// "relu,none" -> relu, none.
std::vector<std::string> split(std::string_view names) {
  std::vector<std::string> found;
  while (true) {
    const size_t comma = names.find(',');
    found.emplace_back(names.substr(0, comma));
    if (comma == std::string_view::npos) return found;
    names.remove_prefix(comma + 1);
  }
}

std::vector<Layer> read_layers(at::TensorList weights, at::IntArrayRef counts, const std::vector<std::string>& activations) {
  TORCH_CHECK_VALUE(!counts.empty() && counts.size() == activations.size(), kChain, ": activations: expected one for each of the ",
                    counts.size(), " layers in counts, of which there is at least one, got ", activations.size());
  int64_t tensors = 0;
  for (const int64_t count : counts) {
    TORCH_CHECK_VALUE(count == 4 || count == 5, kChain, ": counts: expected 4 tensors for a layer, or 5 with a bias, got ", count);
    tensors += count;
  }
  TORCH_CHECK_VALUE(tensors == static_cast<int64_t>(weights.size()), kChain, ": weights: expected ", tensors,
                    " tensors by counts, got ", weights.size());
  std::vector<Layer> layers;
  size_t at = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    Layer& layer = layers.emplace_back(Layer{weights[at], weights[at + 1], weights[at + 2], weights[at + 3], {}, activations[i]});
    if (counts[i] == 5) layer.bias = weights[at + 4];
    at += static_cast<size_t>(counts[i]);
  }
  return layers;
}

/// Whether nothing but this kernel would run: no derivative, no cast, nobody who watches or replaces ops.
bool runs_plainly(const Tensor& input, at::TensorList weights) {
  constexpr c10::DispatchKeySet kPlain({c10::DispatchKey::CPU, c10::DispatchKey::AutogradCPU, c10::DispatchKey::ADInplaceOrView,
                                        c10::DispatchKey::AutocastCPU});
  const auto plain = [&](const Tensor& tensor) {
    return tensor.defined() && (tensor.key_set().raw_repr() & ~kPlain.raw_repr()) == 0 &&
           !(at::GradMode::is_enabled() && tensor.requires_grad());
  };
  return input.scalar_type() == at::kFloat && plain(input) && std::all_of(weights.begin(), weights.end(), plain) &&
         !at::autocast::is_autocast_enabled(at::kCPU) && !at::hasCallbacks() && !c10::impl::dispatch_mode_enabled() &&
         !c10::impl::tls_is_dispatch_key_included(c10::DispatchKey::Tracer) &&
         !c10::impl::tls_is_dispatch_key_included(c10::DispatchKey::FuncTorchDynamicLayerFrontMode);
}

/// Whether the batch fills all threads: the chain is cut by batch rows alone.
bool fills_threads(int64_t n, kernels::Isa isa) {
  return n > csr::small::kMaxBatch && ceil_div(n, kernels::jit::lanes_of(isa)) >= at::get_num_threads();
}

/// Nothing where a layer alone would run by another kernel.
std::optional<Tensor> fused(const Tensor& input, int64_t in_features, const std::vector<Layer>& layers, kernels::Isa isa) {
  const auto rows = as_rows(kChain, "input", input, in_features);
  std::vector<CsrWeight> weights;
  std::vector<Tensor> biases;
  int64_t features = in_features;
  for (const Layer& layer : layers) {
    weights.push_back(check_weight(kChain, &layer.values, layer.col_indices, layer.row_offsets, layer.key, features, input, "input",
                                   forward_compare(isa)));
    features = weights.back().csr.rows;
    biases.push_back(check_bias(kChain, layer.bias, features, input));
    if (!csr::linear_code_pays(weights.back().csr, rows.size(0), kernels::second_level_cache())) return std::nullopt;
  }
  auto output = at::empty(resized_last(input, features), input.options());
  std::vector<std::unique_ptr<WeightForms>> forms;  // they stay where they are made
  std::vector<csr::LinearParams<float>> params;
  for (size_t i = 0; i < layers.size(); ++i) {
    forms.emplace_back(new WeightForms(weights[i].forms()));
    params.push_back({weights[i].csr, data_of<float>(weights[i].values), data_of<float>(biases[i]),
                      parse_activation(kChain, layers[i].activation), rows.size(0), data_of<float>(rows), rows.stride(0),
                      mutable_data_of<float>(output), forms.back().get()});
  }
  csr::linear_chain(params, torch_threads(), isa);
  return output;
}

Tensor linear_csr_chain(const Tensor& input, at::TensorList weights, at::IntArrayRef counts, c10::SymInt in_features,
                        std::string_view activations) {
  const auto layers = read_layers(weights, counts, split(activations));
  TORCH_CHECK_VALUE(input.dim() >= 1, kChain, ": input: expected [..., in_features], got no dimensions");
  if (runs_plainly(input, weights) && input.size(-1) > 0) {
    const auto isa = active_isa();
    if (csr::has_linear_code<float>(isa) && fills_threads(input.numel() / input.size(-1), isa)) {
      if (auto output = fused(input, in_features.expect_int(), layers, isa)) return *std::move(output);
    }
  }
  Tensor x = input;
  c10::SymInt features = std::move(in_features);
  for (const Layer& layer : layers) {
    x = jouleprune::linear_csr(x, layer.values, layer.col_indices, layer.row_offsets, layer.key, std::nullopt, layer.bias,
                               features, layer.activation);
    features = x.sym_size(-1);
  }
  return x;
}

}  // namespace
}  // namespace jouleprune::ops

namespace jouleprune {

at::Tensor linear_csr_chain(const at::Tensor& input, at::TensorList weights, at::IntArrayRef counts, c10::SymInt in_features,
                            std::string_view activations) {
  return ops::linear_csr_chain(input, weights, counts, std::move(in_features), activations);
}

}  // namespace jouleprune

TORCH_LIBRARY_IMPL(jouleprune, CompositeImplicitAutograd, m) {
  m.impl("linear_csr_chain", TORCH_FN(jouleprune::ops::linear_csr_chain));
}

// vmap takes ops that are made of others apart only where it is told to.
TORCH_LIBRARY_IMPL(jouleprune, FuncTorchBatched, m) {
  m.impl("linear_csr_chain", TORCH_FN(jouleprune::ops::linear_csr_chain));
}
