#include "prune/races.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <torch/nn/utils/rnn.h>

#include <cstdlib>
#include <string_view>

#include "nn/csr_weight.h"
#include "prune/recording.h"
#include "prune/watch.h"

namespace jouleprune::prune {
namespace {

using Members = std::vector<const Candidate*>;  // candidates of one module

bool tuning_is_off() {
  const char* tune = std::getenv("JOULEPRUNE_TUNE");
  return tune != nullptr && std::string_view(tune) == "off";
}

Race by_cost(const Members& unit, const Workload& workload) {
  Race race;
  for (const Candidate* candidate : unit) {
    for (const auto& entry : workload.entries) {
      if (entry.weight == candidate->weight) race += race_by_cost(entry, kept_in(entry, *candidate));
    }
  }
  return race;
}

/// Products with a matrix, or of attention with thirds of it, which come in order.
Race race_linear(const Candidate& candidate, const LayerView& layer, const Workload& workload, const Timer& timer,
                 plan::TuningTable* tuning) {
  Race sum;
  int64_t first = 0;
  for (const auto& entry : workload.entries) {
    // A part of a weight counts for its layer, but is no parameter by itself.
    const bool part = entry.weight.empty() && entry.op == "linear" && entry.name == candidate.decision.name;
    if (entry.weight != candidate.weight && !part) continue;
    RaceCase call = case_of(candidate, layer);
    call.input_sizes = {entry.n, layer.weight.size(1)};
    if (entry.rows < layer.weight.size(0)) {
      first = first + entry.rows > layer.weight.size(0) ? 0 : first;
      call.weight = layer.weight.slice(0, first, first + entry.rows);
      if (call.mask.has_value()) call.mask = call.mask->slice(0, first, first + entry.rows);
      first += entry.rows;
    }
    sum += race(call, timer, tuning);
  }
  return sum;
}

/// A call of a recurrent layer: the sizes of its input, and the batch sizes of a packed one.
struct Sequences {
  std::vector<int64_t> sizes;
  at::Tensor batch_sizes;
};

std::vector<Sequences> calls_of(const Forward& forward, const Candidate& candidate) {
  std::vector<Sequences> calls;
  watch(forward.run, {{candidate.weight, candidate.parameter}},
        [&](const std::string&, const WatchedCall& call) {
          // lstm(data, batch_sizes, hx[], ...) has a list as its state, gru(data, batch_sizes, hx, ...) a tensor
          const bool packed = call.arguments[call.op == "gru" ? 2 : 1].isTensor();
          calls.push_back({call.input.sizes().vec(), packed ? call.arguments[1].toTensor().clone() : at::Tensor()});
        });
  return calls;
}

template <typename Dense, typename Twin>
Race race_recurrent(Dense& dense, Twin twin, const std::vector<Sequences>& calls, const Timer& timer) {
  const at::NoGradGuard no_grad;
  twin->eval();
  Race sum;
  for (const auto& call : calls) {
    const auto input = at::full(call.sizes, 0.5, dense.parameters().front().options());
    if (call.batch_sizes.defined()) {
      const torch::nn::utils::rnn::PackedSequence packed(input, call.batch_sizes);
      sum += race([&] { dense.forward_with_packed_input(packed); }, [&] { twin->forward_with_packed_input(packed); }, timer);
    } else {
      sum += race([&] { dense.forward(input); }, [&] { twin->forward(input); }, timer);
    }
  }
  return sum;
}

Race race_recurrent(const Members& unit, const Forward& forward, const Timer& timer) {
  nn::Masks masks;
  std::set<std::string> sparse;
  for (const Candidate* candidate : unit) {
    sparse.insert(candidate->unit.weight);
    if (candidate->mask.has_value()) masks.emplace(candidate->unit.weight, *candidate->mask);
  }
  torch::nn::Module* module = dense_of(unit.front()->unit.place.module);
  const auto calls = calls_of(forward, *unit.front());
  if (auto* lstm = exactly<torch::nn::LSTMImpl>(module)) return race_recurrent(*lstm, sparse_twin(*lstm, masks, sparse), calls, timer);
  auto* gru = exactly<torch::nn::GRUImpl>(module);
  TORCH_INTERNAL_ASSERT(gru != nullptr);
  return race_recurrent(*gru, sparse_twin(*gru, masks, sparse), calls, timer);
}

Race race_unit(const Members& unit, const Workload& workload, const InputSizes& sizes, const Forward& forward, const Timer& timer,
               plan::TuningTable* tuning) {
  Race sum;
  for (const Candidate* candidate : unit) {
    const auto layer = view_layer(candidate->unit);
    if (layer.op == "lstm" || layer.op == "gru") {
      return race_recurrent(unit, forward, timer);  // all weights at once
    }
    if (!layer.conv.has_value()) {
      sum += race_linear(*candidate, layer, workload, timer, tuning);
    } else if (const auto it = sizes.find(candidate->weight); it != sizes.end()) {
      for (const auto& input : it->second) {
        RaceCase call = case_of(*candidate, layer);
        call.input_sizes = input;
        sum += race(call, timer, tuning);
      }
    }
  }
  return sum;
}

}  // namespace

RaceCase case_of(const Candidate& candidate, const LayerView& layer) {
  RaceCase call{layer.weight, candidate.mask, layer.bias, layer.op, {}};
  if (layer.conv.has_value()) {
    call.stride = {(*layer.conv->stride())[0], (*layer.conv->stride())[1]};
    call.dilation = {(*layer.conv->dilation())[0], (*layer.conv->dilation())[1]};
    call.padding = *nn::zero_padding(*layer.conv);
    call.groups = layer.conv->groups();
  }
  return call;
}

std::map<std::string, Race> run_races(torch::nn::Module& module, const std::vector<Candidate>& candidates, const Workload& workload,
                                      const Forward& forward, const Timer& timer) {
  const EvalMode eval_mode(module);
  std::map<std::string, Members> units;
  NamedWeights convolutions;
  for (const auto& candidate : candidates) {
    units[candidate.unit.place.path].push_back(&candidate);
    if (view_layer(candidate.unit).conv.has_value()) convolutions.emplace_back(candidate.weight, candidate.parameter);
  }
  const bool cost = tuning_is_off();
  KeptTimes kept;
  const auto sizes = cost ? InputSizes{} : conv_input_sizes(forward.run, convolutions);
  std::map<std::string, Race> races;
  for (const auto& [path, unit] : units) {
    const Race race = cost ? by_cost(unit, workload) : race_unit(unit, workload, sizes, forward, timer, kept.table());
    for (const Candidate* candidate : unit) races[candidate->weight] = race;
  }
  kept.save();
  return races;
}

int64_t kept_in(const Entry& entry, const Candidate& candidate) {
  return entry.rows * entry.cols * entry.groups == candidate.parameter.numel() ? candidate.nnz : entry.nnz;
}

}  // namespace jouleprune::prune
