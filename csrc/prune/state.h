// What Pruner::state_dict() writes, read with suspicion.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <jouleprune/prune.h>
#include <torch/nn/module.h>
#include <torch/serialize/archive.h>

#include <optional>
#include <string>
#include <vector>

#include "prune/selector.h"

namespace jouleprune::prune {

/// `measured`, `rng`: absent in states that Python wrote before it kept them.
struct SavedState {
  int64_t step = 0;
  bool done = false;
  bool owed = false;  ///< masks were due when gradients had overflowed, as Python's Pruner notes it: the next step chooses them
  std::optional<MaskedPlan> plan;
  std::optional<std::vector<bool>> frozen;
  std::optional<std::vector<MeasuredLimit>> measured;
  at::Tensor rng;  ///< of torch's CPU generator; undefined when absent
};

/// Of the dict: all of Python's keys, and "schedule".
c10::IValue to_dict(const SavedState& state, const Selector& selector, const Schedule& schedule);

/// Checks all of it: against the weights, profile, budget and criterion of `selector`, the schedule, and the module's sizes. Throws
/// c10::ValueError, which names the field.
SavedState from_dict(const c10::IValue& dict, const Selector& selector, const Schedule& schedule, const torch::nn::Module& module);

/// The dict's values under its keys, without those that are None: an archive has no type for a dict of different values.
void write_dict(const c10::IValue& dict, torch::serialize::OutputArchive& archive);
c10::IValue read_dict(torch::serialize::InputArchive& archive);

/// State of torch's CPU generator, as torch.get_rng_state() gives it.
at::Tensor rng_state();
void set_rng_state(const at::Tensor& state);

}  // namespace jouleprune::prune
